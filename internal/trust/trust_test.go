package trust

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http/httptest"
	"testing"
)

func TestRoots(t *testing.T) {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	its := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	for _, c := range []struct {
		name       string
		ca, beside []byte
		system     bool // the system's CAs alone
		trusted    bool
		err        error
	}{
		{"neither", nil, nil, true, false, nil},
		{"its own CA", its, nil, false, true, nil},
		{"trusted beside the system's", nil, its, false, true, nil},
		{"trusted beside a CA", its, []byte("none"), false, true, nil},
		{"a CA that is none", []byte("none"), its, false, false, ErrNoCertificate},
	} {
		t.Run(c.name, func(t *testing.T) {
			roots, err := Roots(c.ca, c.beside)
			if !errors.Is(err, c.err) {
				t.Fatalf("got %v, want %v", err, c.err)
			}
			if err != nil {
				return
			}
			if (roots == nil) != c.system {
				t.Errorf("the system's CAs alone: %t", roots == nil)
			}
			if _, err := s.Certificate().Verify(x509.VerifyOptions{Roots: roots}); (err == nil) != c.trusted {
				t.Errorf("the server is trusted: %v", err)
			}
		})
	}
}
