package realservers

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
)

// secure serves a name over TLS, with a certificate of the authority.
func secure(t *testing.T, a *authority, name string) *httptest.Server {
	t.Helper()
	folder := t.TempDir()
	if err := a.issue(folder, "127.0.0.1", []string{"vault.test"}); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, name)
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func TestAFrontPassesOverServersThatAreDown(t *testing.T) {
	a, err := newAuthority()
	if err != nil {
		t.Fatal(err)
	}
	one, two := secure(t, a, "one"), secure(t, a, "two")
	front, err := NewFront(t.Context(), "127.0.0.1", one.Listener.Addr().String(), two.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(a.pem)
	// One connection for each request; and by a name that only the certificate knows.
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "vault.test"},
	}}
	ask := func() string {
		t.Helper()
		resp, err := client.Get("https://" + front.Address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	if first, second := ask(), ask(); first == second {
		t.Errorf("both were answered by %s", first)
	}
	one.Close()
	for range 3 {
		if got := ask(); got != "two" {
			t.Errorf("answered by %s, want two", got)
		}
	}
	if err := front.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", front.Address); err == nil {
		t.Error("it goes on after its end")
	}
}
