package job

import (
	"encoding/pem"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestCheckBundle(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	tests := []struct{ name, bundle, want string }{
		{"one", ca, ""},
		{"two with a comment", "# Issuer: one\n" + ca + "# Issuer: another\n" + ca, ""},
		{"nothing", "", "it has no certificate in it"},
		{"no PEM", "MIIB", "it has no certificate in it"},
		{"a key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
			"block 1 is a PRIVATE KEY and no CERTIFICATE"},
		{"a certificate that is none", ca + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
			"certificate 2 can't be read"},
		{"one that is cut", ca + ca[:len(ca)/2], "only 1 can be read: the PEM is broken"},
		{"one in the middle that is broken", ca + strings.Replace(ca, "END", "ND", 1) + ca, "the PEM is broken"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := CheckBundle([]byte(test.bundle))
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
