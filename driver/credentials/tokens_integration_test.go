//go:build integration

package credentials

import (
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/driver/job"
)

func revokedToken(t *testing.T, w *world) {
	s := w.login(t, "deployer")
	w.fetch(t, s, "database/creds/short")
	w.root(t, "auth/token/revoke-accessor", map[string]any{"accessor": s.Accessor()})
	done, _ := keepFor(t, s, time.Second)
	wantClass(t, <-done, job.CredentialsExpired, "permission denied")
	if err := s.Revoke(t.Context()); err != nil {
		t.Error(err)
	}
}

func batchToken(t *testing.T, w *world) {
	cfg := w.config(t, "batch", nil)
	cfg.MaxTTL = time.Minute
	s, err := Login(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if s.Accessor() != "" || !strings.Contains(w.log.String(), "can't be cut to the Run's time (it is not renewable)") {
		t.Errorf("got accessor %q, and logged %s", s.Accessor(), w.log)
	}
	w.fetch(t, s, "kv1/app")
	if err := s.Revoke(t.Context()); err != nil {
		t.Error(err)
	}
	w.fetch(t, s, "database/creds/hour")
	wantClass(t, s.Revoke(t.Context()), job.CredentialsDenied, "the lease of database/creds/hour stays until ")
	w.root(t, "sys/leases/revoke-prefix/database/creds/hour", nil)
}

func bareToken(t *testing.T, w *world) {
	s := w.login(t, "bare")
	wantClass(t, s.Revoke(t.Context()), job.CredentialsDenied, "writing to auth/token/revoke-self")
	w.fetch(t, s, "database/creds/short")
	done, _ := keepFor(t, s, time.Second)
	wantClass(t, <-done, job.CredentialsExpired, "permission denied")
}

func byAccessor(t *testing.T, w *world) {
	s := w.login(t, "deployer")
	w.fetch(t, s, "database/creds/hour")
	controller := w.config(t, "controller", nil)
	for range 2 { // the second time it is gone already
		if err := RevokeAccessor(t.Context(), controller, s.Accessor()); err != nil {
			t.Error(err)
		}
	}
	eventually(t, "no lease is left", func() bool { return len(w.leases(t, "database/creds/hour")) == 0 })
	_, err := s.Fetch(t.Context(), Request{Path: "kv1/app"})
	wantClass(t, err, job.CredentialsUnavailable, "permission denied")
	other := w.login(t, "deployer")
	err = RevokeAccessor(t.Context(), w.config(t, "deployer", nil), other.Accessor())
	wantClass(t, err, job.CredentialsDenied, "writing to auth/token/revoke-accessor")
}

func childToken(t *testing.T, w *world) {
	s := w.login(t, "deployer")
	a, err := s.Fetch(t.Context(), Request{
		Path: "auth/token/create/child", Write: true, Parameters: map[string]any{"policies": []any{"app"}, "ttl": "5m"},
	})
	if err != nil || a.Data["client_token"] == "" || a.TTL != 5*time.Minute {
		t.Fatalf("got TTL %s, %v", a.TTL, err)
	}
	w.remember(a.Data["client_token"])
	if _, err := s.leases[1].renew(t.Context(), time.Minute); err != nil {
		t.Error(err)
	}
	if err := s.Revoke(t.Context()); err != nil {
		t.Error(err)
	}
	wantGone(t, s.leases[1])
}

// wantGone awaits that the server does not know a token any more.
func wantGone(t *testing.T, token *lease) {
	t.Helper()
	eventually(t, token.what+" is gone", func() bool {
		valid, err := token.client.Valid(t.Context())
		return err == nil && !valid
	})
}

// revokedChild: that a child is gone says nothing about the token that it was made with.
func revokedChild(t *testing.T, w *world) {
	s := w.login(t, "deployer")
	a, err := s.Fetch(t.Context(), Request{
		Path: "auth/token/create/child", Write: true, Parameters: map[string]any{"policies": []any{"app"}, "ttl": "6s"},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.remember(a.Data["client_token"])
	w.root(t, "auth/token/revoke-accessor", map[string]any{"accessor": a.Data["accessor"]})
	done, _ := keepFor(t, s, time.Second)
	wantClass(t, <-done, job.CredentialsExpired, "the token of auth/token/create/child ends at ")
	w.fetch(t, s, "kv1/app")
	if err := s.Revoke(t.Context()); err != nil {
		t.Error(err)
	}
}

// otherToken does not end with the login token, for nobody made it with that.
func otherToken(t *testing.T, w *world) {
	w.root(t, "sys/auth/userpass", map[string]any{"type": "userpass"})
	password := w.secret("userpass")
	w.root(t, "auth/userpass/users/app", map[string]any{"password": password, "token_policies": "app", "token_ttl": "1h"})
	cfg := w.config(t, "deployer", nil)
	cfg.MaxTTL = 10 * time.Minute
	s, err := Login(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.Fetch(t.Context(), Request{
		Path: "auth/userpass/login/app", Write: true, Parameters: map[string]any{"password": password},
	})
	if err != nil || a.TTL > cfg.MaxTTL || a.TTL < cfg.MaxTTL-time.Minute {
		t.Fatalf("got TTL %s, %v, want the Run's 10 minutes", a.TTL, err)
	}
	w.remember(a.Data["client_token"])
	if err := s.Revoke(t.Context()); err != nil {
		t.Error(err)
	}
	for _, token := range s.leases {
		wantGone(t, token)
	}
}
