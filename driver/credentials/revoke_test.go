package credentials

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/driver/job"
)

func TestRevoke(t *testing.T) {
	for name, test := range map[string]struct {
		accessor string
		self     handler
		lookup   handler
		lease    handler
		says     string // "" when it ends well
	}{
		"it goes": {"acc", says(204, ""), nil, nil, ""},
		"it is gone already": {
			"acc", refuses(403, "permission denied"), refuses(403, "permission denied; invalid token"), nil, "",
		},
		"it is gone already, as OpenBao says it": {
			"acc", refuses(403, "permission denied"), refuses(403, "permission denied"), nil, "",
		},
		"the policy forbids it": {"acc", refuses(403, "permission denied"), nil, says(204, ""), "permission denied"},
		"neither token nor lease": {
			"acc", refuses(403, "permission denied"), nil, refuses(403, "permission denied"), "stays until",
		},
		"a batch token": {"", refuses(400, "batch tokens cannot be revoked"), nil, says(204, ""), ""},
		"a batch token whose lease stays": {
			"", refuses(400, "batch tokens cannot be revoked"), nil, refuses(403, "permission denied"),
			"the lease of db/creds/app stays until 2026-07-01T12:01:00Z",
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.set("auth/jwt/login", says(200, strings.Replace(login(60, true), "acc", test.accessor, 1)))
			h.set("db/creds/app", says(200, leased(60, true)))
			h.set(revokeSelf, test.self)
			if test.lookup != nil {
				h.set(lookup, test.lookup)
				h.set(mounts, test.lookup)
			}
			if test.lease != nil {
				h.set("sys/leases/revoke", test.lease)
			}
			s := h.login(t)
			h.fetch(t, s)
			err := s.Revoke(t.Context())
			if test.says == "" && err != nil {
				t.Errorf("got %v", err)
			}
			if test.says != "" {
				wantClass(t, err, job.CredentialsDenied, test.says)
			}
		})
	}
}

// TestATokenIsCutBeforeItIsRevoked: a revocation that is broken off is Vault's own to finish, and soon.
func TestATokenIsCutBeforeItIsRevoked(t *testing.T) {
	for name, test := range map[string]struct {
		renewable bool
		renew     handler
		want      []string
	}{
		"it is cut":           {true, says(200, login(5, true)), []string{renewToken, revokeSelf}},
		"it can't be":         {false, refuses(400, "lease is not renewable"), []string{revokeSelf}},
		"it may not":          {true, refuses(403, "permission denied"), []string{renewToken, revokeSelf}},
		"a server in trouble": {true, flaky(2, says(204, "")), []string{renewToken, renewToken, renewToken, revokeSelf}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.set("auth/jwt/login", says(200, login(60, test.renewable)))
			h.set(renewToken, func(body map[string]any) (int, string) {
				if got := body["increment"]; got != ending.Seconds() {
					t.Errorf("asked for %v seconds", got)
				}
				return test.renew(body)
			})
			if err := h.login(t).Revoke(t.Context()); err != nil {
				t.Error(err)
			}
			want := append([]string{"auth/jwt/login"}, test.want...)
			if diff := cmp.Diff(want, h.calls()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestRevokeOfATokenThatAnotherLoginGave: it does not end with the session's own, so it is ended by itself.
func TestRevokeOfATokenThatAnotherLoginGave(t *testing.T) {
	const other, path = "hvs.another", "auth/approle/login"
	denied := refuses(403, "permission denied")
	for name, test := range map[string]struct {
		first  handler // the other's own revocation
		lookup handler // what is said of it then
		says   string  // "" when it ends well
	}{
		"it goes": {says(204, ""), denied, ""},
		"it was made with the session's, and is gone": {denied, denied, ""},
		"its policy forbids it": {
			denied, says(200, `{"data":{}}`), "the token of auth/approle/login stays until 2026-07-01T12:10:00Z",
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.cfg.MaxTTL = 10 * time.Minute
			h.set(path, says(200, strings.Replace(login(3600, true), token, other, 1)))
			h.set(renewToken, func(body map[string]any) (int, string) {
				asked, _ := body["increment"].(float64)
				return 200, login(int(asked), true)
			})
			s := h.login(t)
			a, err := s.Fetch(t.Context(), Request{Path: path, Write: true})
			if err != nil || a.Data["client_token"] != other || a.TTL != h.cfg.MaxTTL {
				t.Fatalf("got %v, %v, want a token that ends with the Run", a, err)
			}
			left := []handler{test.first, says(204, "")}
			h.set(revokeSelf, func(body map[string]any) (int, string) {
				first := left[0]
				left = left[1:]
				return first(body)
			})
			h.set(lookup, test.lookup)
			h.set(mounts, test.lookup)
			err = s.Revoke(t.Context())
			if test.says == "" && err != nil {
				t.Errorf("got %v", err)
			}
			if test.says != "" {
				wantClass(t, err, job.CredentialsDenied, test.says)
			}
			if diff := cmp.Diff([]string{other, token}, h.tokens[revokeSelf]); diff != "" {
				t.Errorf("revoked, in order (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRevokeOfAServerThatIsAway: it can be tried again, by whoever has more time.
func TestRevokeOfAServerThatIsAway(t *testing.T) {
	h := newHarness(t)
	s := h.login(t)
	ctx, cancel := context.WithCancel(t.Context())
	h.set(renewToken, func(map[string]any) (int, string) {
		cancel()
		return 503, `{"errors":["Vault is sealed"]}`
	})
	wantClass(t, s.Revoke(ctx), job.CredentialsUnavailable, "")
}

func TestRevokeAccessor(t *testing.T) {
	for name, test := range map[string]struct {
		answer handler
		says   string
	}{
		"it goes":             {says(204, ""), ""},
		"it is gone already":  {refuses(403, "invalid accessor"), ""},
		"it may not":          {refuses(403, "permission denied"), "permission denied"},
		"a server in trouble": {flaky(2, says(204, "")), ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.set("auth/token/revoke-accessor", test.answer)
			err := RevokeAccessor(t.Context(), h.cfg, "other")
			if test.says == "" && err != nil {
				t.Errorf("got %v", err)
			}
			if test.says != "" {
				wantClass(t, err, job.CredentialsDenied, test.says)
			}
			if calls := h.calls(); calls[len(calls)-1] != revokeSelf {
				t.Errorf("it did %v, want that its own token is revoked in the end", calls)
			}
		})
	}
}
