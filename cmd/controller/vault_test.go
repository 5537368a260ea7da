package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
)

// TestRevokeAsTheControllerItself: a token of its own ServiceAccount for the class's audience, one login, the lost
// token's end, and its own.
func TestRevokeAsTheControllerItself(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		asked = append(asked, strings.TrimPrefix(r.URL.Path, "/v1/")+" "+essence(body))
		switch r.URL.Path {
		case "/api/v1/namespaces/ns/serviceaccounts/controller/token":
			_, _ = w.Write([]byte(
				`{"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "status": {"token": "jwt"}}`))
		case "/v1/auth/jwt/login":
			_, _ = w.Write([]byte(`{"auth": {"client_token": "t", "accessor": "mine", "lease_duration": 60}}`))
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	t.Cleanup(server.Close)
	f := flags{account: "controller"}
	f.options.Namespace = "ns"
	cfg := &rest.Config{Host: server.URL}
	cfg.ContentType = "application/json"
	v, err := newVault(cfg, f)
	if err != nil {
		t.Fatal(err)
	}
	class := v1alpha1.VaultServer{Address: server.URL, AuthPath: "auth/jwt", Audience: "vault", RevokerRole: "revoker"}
	if err := v.Revoke(t.Context(), class, "lost"); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"/api/v1/namespaces/ns/serviceaccounts/controller/token audience vault",
		"auth/jwt/login jwt as revoker", "auth/token/revoke-accessor lost", "auth/token/revoke-self ",
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Error(diff)
	}
}

// essence is what matters of a request.
func essence(body []byte) string {
	var b struct {
		JWT, Role, Accessor string
		Spec                struct{ Audiences []string }
	}
	if json.Unmarshal(body, &b) != nil {
		return ""
	}
	switch {
	case len(b.Spec.Audiences) > 0:
		return "audience " + strings.Join(b.Spec.Audiences, " ")
	case b.JWT != "":
		return b.JWT + " as " + b.Role
	}
	return b.Accessor
}
