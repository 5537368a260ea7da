//go:build integration

package credentials

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// scene is a test against a server that is there already.
type scene struct {
	name string
	run  func(*testing.T, *world)
}

func TestRealVault(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	for _, test := range []scene{
		{"login by jwt", loginByJWT},
		{"login by kubernetes", loginByKubernetes},
		{"key-value", keyValue},
		{"a write with parameters", write},
		{"a dynamic role", dynamicRole},
		{"a static role", staticRole},
		{"renewal", renewal},
		{"maximum time to live", maximum},
		{"a lease that somebody revokes", revokedLease},
		{"a token that somebody revokes", revokedToken},
		{"a batch token", batchToken},
		{"a token without the default policy", bareToken},
		{"revocation by accessor", byAccessor},
		{"a token of Vault's own", childToken},
		{"a token of another auth mount", otherToken},
		{"a sealed server", sealed},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, w) })
	}
	w.likeOpenBao(t)
	for _, test := range []scene{
		{"revocation", dynamicRole},
		{"a token that somebody revokes", revokedToken},
		{"revocation by accessor", byAccessor},
		{"a child that somebody revokes", revokedChild},
		{"a mount that is not loaded yet", unloadedMount},
		{"a leader that is none any more", sentOn},
	} {
		t.Run("with OpenBao's answers/"+test.name, func(t *testing.T) { test.run(t, w) })
	}
	w.wantNothingSecret(t)
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func loginByJWT(t *testing.T, w *world) {
	cfg := w.config(t, "deployer", nil)
	cfg.MaxTTL = 10 * time.Minute
	s, err := Login(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	found := w.root(t, "auth/token/lookup-accessor", map[string]any{"accessor": s.Accessor()})
	ttl, err := found.TokenTTL()
	if err != nil || ttl > 10*time.Minute || ttl < 9*time.Minute {
		t.Errorf("the token ends in %s, %v; want the Run's 10 minutes", ttl, err)
	}
	for name, test := range map[string]struct {
		role, mount, says string
		claims            jwt.MapClaims
	}{
		"an unknown role":    {"nobody", "auth/jwt", `role "nobody" could not be found`, nil},
		"another audience":   {"deployer", "auth/jwt", "aud", jwt.MapClaims{"aud": []string{"other"}}},
		"another subject":    {"deployer", "auth/jwt", "sub", jwt.MapClaims{"sub": "system:serviceaccount:x:y"}},
		"a token that ended": {"deployer", "auth/jwt", "expired", jwt.MapClaims{"exp": time.Now().Add(-time.Hour).Unix()}},
		"no such mount":      {"deployer", "auth/none", "logging in at auth/none", nil},
	} {
		cfg := w.config(t, test.role, test.claims)
		cfg.AuthPath = test.mount
		_, err := Login(t.Context(), cfg)
		if wantClass(t, err, job.CredentialsDenied, test.says); t.Failed() {
			t.Errorf("with %s", name)
		}
		w.wantNothingSecret(t, err)
	}
}

// loginByKubernetes has an API server that can be away: Vault can't tell that from a token that is not good.
func loginByKubernetes(t *testing.T, w *world) {
	var away, asked atomic.Int32
	apiServer := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if away.Add(-1) >= 0 {
			out.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		out.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(out).Encode(map[string]any{"status": map[string]any{
			"authenticated": true, "audiences": []string{"vault"},
			"user": map[string]any{"username": "system:serviceaccount:team:terraform", "uid": "a-uid"},
		}})
	}))
	defer apiServer.Close()
	w.root(t, "sys/auth/kubernetes", map[string]any{"type": "kubernetes"})
	w.root(t, "auth/kubernetes/config", map[string]any{
		"kubernetes_host": apiServer.URL, "kubernetes_ca_cert": string(w.vault.CA()), "disable_local_ca_jwt": true,
		"token_reviewer_jwt": "reviewer",
	})
	for role, namespace := range map[string]string{"deployer": "team", "other": "elsewhere"} {
		w.root(t, "auth/kubernetes/role/"+role, map[string]any{
			"bound_service_account_names": "terraform", "bound_service_account_namespaces": namespace,
			"audience": "vault", "token_policies": "app",
		})
	}
	cfg := w.config(t, "deployer", nil)
	cfg.AuthPath = "auth/kubernetes"
	for name, n := range map[string]int32{"it is there": 0, "it comes back": 2} {
		away.Store(n)
		if _, err := Login(t.Context(), cfg); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	away.Store(1000)
	asked.Store(0)
	_, err := Login(t.Context(), cfg)
	if wantClass(t, err, job.CredentialsDenied, "permission denied (403)"); asked.Load() < 2 {
		t.Errorf("asked %d times, want more than once", asked.Load())
	}
	for role, says := range map[string]string{"other": "namespace not authorized", "nobody": "invalid role name"} {
		cfg.Role = role
		asked.Store(0)
		_, err := Login(t.Context(), cfg)
		if wantClass(t, err, job.CredentialsDenied, says); asked.Load() != 0 {
			t.Errorf("the API server was asked for role %s", role)
		}
		w.wantNothingSecret(t, err)
	}
}

func keyValue(t *testing.T, w *world) {
	s := w.login(t, "deployer")
	for _, path := range []string{"kv1/app", "kv2/data/app", "v1/kv2/data/app"} {
		a := w.fetch(t, s, path)
		if !strings.HasPrefix(a.Data["password"], "value-of-kv") || a.TTL != 0 {
			t.Errorf("%s: got TTL %s and %d fields", path, a.TTL, len(a.Data))
		}
	}
	if got := w.fetch(t, s, "kv2/data/app").Data["n"]; got != "7" {
		t.Errorf("a number: got %q", got)
	}
	for path, says := range map[string]string{
		"kv2/app":       "the path may be kv2/data/app",
		"kv1/none":      "not found",
		"kv2/data/none": "not found",
		"none/app":      `no handler for route "none/app"`,
		"sys/mounts":    "permission denied",
	} {
		_, err := s.Fetch(t.Context(), Request{Path: path})
		wantClass(t, err, job.CredentialsDenied, "reading "+path+` as role "deployer": `)
		wantClass(t, err, job.CredentialsDenied, says)
	}
	client, err := w.vault.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.root(t, "kv2/data/gone", map[string]any{"data": map[string]any{"a": "b"}})
	if _, err := client.Logical().DeleteWithContext(t.Context(), "kv2/data/gone"); err != nil {
		t.Fatal(err)
	}
	_, err = s.Fetch(t.Context(), Request{Path: "kv2/data/gone"})
	wantClass(t, err, job.CredentialsDenied, "deleted")
}

func write(t *testing.T, w *world) {
	a, err := w.login(t, "deployer").Fetch(t.Context(), Request{
		Path: "transit/encrypt/app", Write: true, Parameters: map[string]any{"plaintext": "aGVsbG8="},
	})
	if err != nil || !strings.HasPrefix(a.Data["ciphertext"], "vault:v1:") {
		t.Errorf("got %v, %v", a, err)
	}
}

func dynamicRole(t *testing.T, w *world) {
	const creds = "database/creds/hour"
	s := w.login(t, "deployer")
	first, second := w.fetch(t, s, creds), w.fetch(t, s, creds)
	if first.TTL != time.Hour || !first.Renewable || first.Data["username"] == second.Data["username"] {
		t.Errorf("got %s, renewable %v, and the same user: %v", first.TTL, first.Renewable,
			first.Data["username"] == second.Data["username"])
	}
	user, password := first.Data["username"], first.Data["password"]
	if err := w.connects(t.Context(), user, password); err != nil {
		t.Error(err)
	}
	if n := len(w.leases(t, creds)); n != 2 {
		t.Errorf("there are %d leases, want 2", n)
	}
	for range 2 { // the second time it is gone already
		if err := s.Revoke(t.Context()); err != nil {
			t.Error(err)
		}
	}
	eventually(t, "no lease is left", func() bool { return len(w.leases(t, creds)) == 0 })
	if err := w.connects(t.Context(), user, password); err == nil {
		t.Error("the user can still log in")
	}
	_, err := s.Fetch(t.Context(), Request{Path: creds})
	wantClass(t, err, job.CredentialsUnavailable, "permission denied")
}

// A static role has no lease: it is read anew for each Run, and is another after each rotation.
func staticRole(t *testing.T, w *world) {
	s := w.login(t, "deployer")
	before := w.fetch(t, s, "database/static-creds/fixed")
	w.root(t, "database/rotate-role/fixed", nil)
	after := w.fetch(t, s, "database/static-creds/fixed")
	if before.Data["password"] == after.Data["password"] || after.TTL != 0 {
		t.Errorf("it is not another one, or has a TTL: %s", after.TTL)
	}
	if err := w.connects(t.Context(), "fixed", after.Data["password"]); err != nil {
		t.Error(err)
	}
}

// keepFor runs Keep until it ends or stop is called.
func keepFor(t *testing.T, s *Session, margin time.Duration) (done <-chan error, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	ended := make(chan error, 1)
	go func() { ended <- s.Keep(ctx, margin) }()
	return ended, cancel
}

func renewal(t *testing.T, w *world) {
	s := w.login(t, "deployer")
	a := w.fetch(t, s, "database/creds/short")
	id := s.leases[1].id
	expires := func() time.Time {
		found := w.root(t, "sys/leases/lookup", map[string]any{"lease_id": id})
		text, _ := found.Data["expire_time"].(string)
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	first := expires()
	done, stop := keepFor(t, s, time.Second)
	eventually(t, "the lease is renewed twice", func() bool { return expires().After(first.Add(7 * time.Second)) })
	if err := w.connects(t.Context(), a.Data["username"], a.Data["password"]); err != nil {
		t.Error(err)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func maximum(t *testing.T, w *world) {
	s := w.login(t, "deployer")
	a := w.fetch(t, s, "database/creds/capped")
	done, _ := keepFor(t, s, time.Second)
	wantClass(t, <-done, job.CredentialsExpired, "the lease of database/creds/capped ends at ")
	if err := w.connects(t.Context(), a.Data["username"], a.Data["password"]); err != nil {
		t.Errorf("it ended before it was told: %v", err)
	}
}

func revokedLease(t *testing.T, w *world) {
	s := w.login(t, "deployer")
	w.fetch(t, s, "database/creds/short")
	w.root(t, "sys/leases/revoke", map[string]any{"lease_id": s.leases[1].id, "sync": true})
	done, _ := keepFor(t, s, time.Second)
	wantClass(t, <-done, job.CredentialsExpired, "lease not found")
}

// sentOn: what the client library follows once is no answer the second time, least of all to a revocation.
func sentOn(t *testing.T, w *world) {
	const twice = 2
	w.openBao.SendOn(twice)
	s := w.login(t, "deployer")
	w.openBao.SendOn(twice)
	w.fetch(t, s, "kv1/app")
	w.openBao.SendOn(twice)
	if granted, err := s.leases[0].renew(t.Context(), time.Minute); err != nil || granted != time.Minute {
		t.Errorf("renewing: got %s, %v", granted, err)
	}
	s.leases[0].renewable = false // so that it is revoked without another renewal
	w.openBao.SendOn(twice)
	if err := s.Revoke(t.Context()); err != nil {
		t.Error(err)
	}
	if valid, err := s.client.Valid(t.Context()); valid || err != nil {
		t.Errorf("the token is valid: %v, %v", valid, err)
	}
}

// unloadedMount is what a new leader of OpenBao was seen to say of a path that is there.
func unloadedMount(t *testing.T, w *world) {
	s := w.login(t, "deployer")
	w.openBao.Unload("kv1", 2)
	w.fetch(t, s, "kv1/app")
	w.openBao.Unload("kv1", 2)
	_, err := s.Fetch(t.Context(), Request{Path: "kv1/none"})
	wantClass(t, err, job.CredentialsDenied, `reading kv1/none as role "deployer": not found (404)`)
	w.openBao.Unload("kv1", 1000)
	_, err = s.Fetch(within(t, time.Second), Request{Path: "kv1/app"})
	wantClass(t, err, job.CredentialsUnavailable, "whether it has that mount by now can't be told")
	w.openBao.Unload("kv1", 0)
}

func sealed(t *testing.T, w *world) {
	s := w.login(t, "deployer")
	w.fetch(t, s, "database/creds/hour")
	if err := w.vault.Seal(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	_, err := s.Fetch(within(t, time.Second), Request{Path: "kv1/app"})
	wantClass(t, err, job.CredentialsUnavailable, "Vault is sealed (503)")
	_, err = Login(within(t, time.Second), w.config(t, "deployer", nil))
	wantClass(t, err, job.CredentialsUnavailable, w.address)
	calls := make(chan error, 3)
	go func() { _, err := s.Fetch(t.Context(), Request{Path: "kv1/app"}); calls <- err }()
	go func() { _, err := Login(t.Context(), w.config(t, "deployer", nil)); calls <- err }()
	go func() { _, err := s.leases[1].renew(t.Context(), time.Hour); calls <- err }()
	if err := w.vault.Unseal(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := <-calls; err != nil {
			t.Error(err)
		}
	}
	if err := s.Revoke(t.Context()); err != nil {
		t.Error(err)
	}
	eventually(t, "no lease is left", func() bool { return len(w.leases(t, "database/creds/hour")) == 0 })
}
