package realservers

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/internal/testkit"
)

// TestAFrontAnswersAsOpenBaoDoes: a client that gets on with it gets on with OpenBao, where that can't be asked.
func TestAFrontAnswersAsOpenBaoDoes(t *testing.T) {
	a, err := newAuthority()
	if err != nil {
		t.Fatal(err)
	}
	server := secure(t, a, "")
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/gone":
			refuse(w, http.StatusForbidden, "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n")
		case "/v1/forbidden":
			refuse(w, http.StatusForbidden, "permission denied", "and why")
		default:
			_, _ = io.WriteString(w, "{}\n")
		}
	})
	v := &Vault{ca: a, options: VaultOptions{Listen: "127.0.0.1", Dir: t.TempDir()}}
	front, err := v.OpenBaoFront(t.Context(), server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := front.Stop(); err != nil {
			t.Error(err)
		}
	}()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(a.pem)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	front.Unload("kv", 1)
	front.SendOn(1)
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	got := []string{"sent on: " + ask(t, client, front.Address+"/v1/gone")}
	for _, path := range []string{
		"gone", "forbidden", "sys/internal/ui/mounts/kv/app", "kv/app", "sys/internal/ui/mounts/kv/app", "kv/app",
	} {
		got = append(got, path+": "+ask(t, client, front.Address+"/v1/"+path))
	}
	if diff := cmp.Diff([]string{
		`sent on: 307 `,
		`gone: 403 {"errors":["permission denied"]}`,
		`forbidden: 403 {"errors":["permission denied","and why"]}`,
		`sys/internal/ui/mounts/kv/app: 403 {"errors":["preflight capability check returned 403"]}`,
		`kv/app: 404 {"errors":[]}`,
		`sys/internal/ui/mounts/kv/app: 200 {}`,
		`kv/app: 200 {}`,
	}, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}

func ask(t *testing.T, client *http.Client, address string) string {
	t.Helper()
	resp, err := client.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	status, _, _ := strings.Cut(resp.Status, " ")
	return status + " " + strings.TrimSpace(string(body))
}

// TestTheEnvironmentNamesTheServer, and what it says of itself is in the log.
func TestTheEnvironmentNamesTheServer(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "bao")
	if err := os.WriteFile(binary, []byte("#!/bin/sh\necho \"OpenBao of the test: $1\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv(VaultVariable, binary)
	log := &testkit.Log{}
	got, err := vaultBinary(t.Context(), log.Printf)
	says := "speaking to OpenBao of the test: version (" + binary + ")"
	if err != nil || got != binary || !strings.Contains(log.String(), says) {
		t.Errorf("got %s, %v, logged %q", got, err, log)
	}
	for value, says := range map[string]string{
		"bao": "it takes the absolute path of a server's binary", "/none/bao": "PLUMBLINE_VAULT names it",
	} {
		t.Setenv(VaultVariable, value)
		if _, err := StartVault(t.Context(), log.Printf, VaultOptions{}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("with %s: got %v, want %q", value, err, says)
		}
	}
}
