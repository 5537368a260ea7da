//go:build integration

package credentials

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5"
	"github.com/openbao/openbao/api/v2"
	"k8s.io/utils/clock"

	"github.com/plumbline-dev/plumbline/internal/realservers"
	"github.com/plumbline-dev/plumbline/internal/testkit"
)

// world is a real Vault with a real database, and everything secret that was seen there.
type world struct {
	vault    *realservers.Vault
	postgres *realservers.Postgres
	key      *ecdsa.PrivateKey
	address  string
	openBao  *realservers.OpenBaoFront // once it is used
	log      *testkit.Log

	mu      sync.Mutex
	secrets []string
}

const policy = `
path "kv1/*"      { capabilities = ["read"] }
path "kv2/data/*" { capabilities = ["read"] }
path "kv2/app"    { capabilities = ["read"] }
path "none/*"     { capabilities = ["read"] }
path "transit/encrypt/*"       { capabilities = ["update"] }
path "database/creds/*"        { capabilities = ["read"] }
path "database/static-creds/*" { capabilities = ["read"] }
path "auth/token/create/child" { capabilities = ["update"] }
`

// roles of the jwt mount and what they have besides.
var roles = map[string]map[string]any{
	"deployer":   {"token_ttl": "1h", "token_policies": "app"},
	"batch":      {"token_type": "batch", "token_ttl": "1h", "token_policies": "app"},
	"controller": {"token_ttl": "10m", "token_policies": "revoker"},
	"bare":       {"token_ttl": "1h", "token_policies": "app", "token_no_default_policy": true},
}

// newWorld starts both, and sets up mounts that a platform team may have.
func newWorld(t *testing.T, nodes int) *world {
	t.Helper()
	w := &world{log: &testkit.Log{}}
	var err error
	if w.vault, err = realservers.StartVault(t.Context(), t.Logf, realservers.VaultOptions{Nodes: nodes}); err != nil {
		t.Fatal(err)
	}
	if w.postgres, err = realservers.StartPostgres(t.Context(), t.Logf); err != nil {
		t.Fatal(errors.Join(err, w.vault.Stop()))
	}
	hosts := w.vault.Addresses()
	for i := range hosts {
		hosts[i] = strings.TrimPrefix(hosts[i], "https://")
	}
	front, err := realservers.NewFront(t.Context(), "127.0.0.1", hosts...)
	if err != nil {
		t.Fatal(err)
	}
	w.address = "https://" + front.Address
	t.Cleanup(func() {
		if err := errors.Join(front.Stop(), w.postgres.Stop(), w.vault.Stop()); err != nil {
			t.Error(err)
		}
	})
	w.secrets = append(w.secrets, w.vault.RootToken, w.postgres.Password)
	w.mounts(t)
	w.auth(t)
	w.database(t)
	return w
}

// likeOpenBao has the server answer as OpenBao does from now on, whichever it is.
func (w *world) likeOpenBao(t *testing.T) {
	t.Helper()
	var err error
	w.openBao, err = w.vault.OpenBaoFront(t.Context(), strings.TrimPrefix(w.address, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.openBao.Stop() })
	w.address = w.openBao.Address
}

// root writes as root, and tries again while a mount is still being made ready.
func (w *world) root(t *testing.T, path string, data map[string]any) *api.Secret {
	t.Helper()
	client, err := w.vault.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	secret, err := client.Logical().WriteWithContext(t.Context(), path, data)
	for i := 0; err != nil && i < 100 && t.Context().Err() == nil; i++ {
		secret, err = client.Logical().WriteWithContext(t.Context(), path, data)
	}
	if err != nil {
		t.Fatalf("writing %s: %v", path, err)
	}
	return secret
}

func (w *world) mounts(t *testing.T) {
	t.Helper()
	w.root(t, "sys/mounts/kv1", map[string]any{"type": "kv"})
	w.root(t, "sys/mounts/kv2", map[string]any{"type": "kv", "options": map[string]any{"version": "2"}})
	w.root(t, "sys/mounts/transit", map[string]any{"type": "transit"})
	w.root(t, "sys/mounts/database", map[string]any{"type": "database"})
	w.root(t, "kv1/app", map[string]any{"password": w.secret("kv1")})
	w.root(t, "kv2/data/app", map[string]any{"data": map[string]any{"password": w.secret("kv2"), "n": 7}})
	w.root(t, "transit/keys/app", nil)
	w.root(t, "sys/policies/acl/app", map[string]any{"policy": policy})
	w.root(t, "sys/policies/acl/revoker", map[string]any{
		"policy": `path "auth/token/revoke-accessor" { capabilities = ["update"] }`,
	})
}

// secret makes a value that must never be seen in a log or an error.
func (w *world) secret(name string) string {
	return w.remember("value-of-" + name + "-" + rand.Text())
}

func (w *world) remember(secret string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.secrets = append(w.secrets, secret)
	return secret
}

func (w *world) auth(t *testing.T) {
	t.Helper()
	var err error
	if w.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	w.root(t, "sys/auth/jwt", map[string]any{"type": "jwt"})
	w.root(t, "auth/jwt/config", map[string]any{"jwt_validation_pubkeys": []string{publicKey(t, w.key)}})
	w.root(t, "auth/token/roles/child", map[string]any{"allowed_policies": "app", "token_explicit_max_ttl": "1h"})
	for name, more := range roles {
		role := map[string]any{
			"role_type": "jwt", "bound_audiences": "vault", "user_claim": "sub",
			"bound_subject": "system:serviceaccount:team:terraform",
		}
		maps.Copy(role, more)
		w.root(t, "auth/jwt/role/"+name, role)
	}
}

func publicKey(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

const (
	createUser = `CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'`
	renewUser  = `ALTER ROLE "{{name}}" VALID UNTIL '{{expiration}}'`
)

func (w *world) database(t *testing.T) {
	t.Helper()
	w.root(t, "database/config/db", map[string]any{
		"plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "username": realservers.Superuser,
		"password":       w.postgres.Password,
		"connection_url": "postgresql://{{username}}:{{password}}@" + w.postgres.Host + "/postgres?sslmode=disable",
	})
	for name, ttl := range map[string][2]string{
		"hour": {"1h", "24h"}, "short": {"6s", "1h"}, "capped": {"6s", "9s"},
	} {
		w.root(t, "database/roles/"+name, map[string]any{
			"db_name": "db", "creation_statements": createUser, "renew_statements": renewUser,
			"default_ttl": ttl[0], "max_ttl": ttl[1],
		})
	}
	if err := w.postgres.Exec(t.Context(), "create role fixed login password 'first'"); err != nil {
		t.Fatal(err)
	}
	w.root(t, "database/static-roles/fixed", map[string]any{
		"db_name": "db", "username": "fixed", "rotation_period": "24h",
	})
}

// token is a ServiceAccount's, as the API server would sign it.
func (w *world) token(t *testing.T, claims jwt.MapClaims) string {
	t.Helper()
	all := jwt.MapClaims{
		"sub": "system:serviceaccount:team:terraform", "aud": []string{"vault"}, "iss": "kubernetes",
		"iat": time.Now().Unix(), "nbf": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
		"kubernetes.io": map[string]any{
			"namespace": "team", "serviceaccount": map[string]any{"name": "terraform", "uid": "a-uid"},
		},
	}
	maps.Copy(all, claims)
	signed, err := jwt.NewWithClaims(jwt.SigningMethodES256, all).SignedString(w.key)
	if err != nil {
		t.Fatal(err)
	}
	return w.remember(signed)
}

func (w *world) config(t *testing.T, role string, claims jwt.MapClaims) Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(w.token(t, claims)), 0o600); err != nil {
		t.Fatal(err)
	}
	return Config{
		Address: w.address, AuthPath: "auth/jwt", Role: role, CA: w.vault.CA(), TokenFile: file,
		Clock: clock.RealClock{}, Log: w.log.Printf, RetryDelay: 50 * time.Millisecond,
	}
}

func (w *world) login(t *testing.T, role string) *Session {
	t.Helper()
	s, err := Login(t.Context(), w.config(t, role, nil))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (w *world) fetch(t *testing.T, s *Session, path string) Answer {
	t.Helper()
	a, err := s.Fetch(t.Context(), Request{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if password := a.Data["password"]; password != "" {
		w.remember(password)
	}
	return a
}

// leases are the IDs of those below a path that Vault knows of.
func (w *world) leases(t *testing.T, path string) []string {
	t.Helper()
	client, err := w.vault.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	secret, err := client.Logical().ListWithContext(t.Context(), "sys/leases/lookup/"+path)
	if err != nil {
		t.Fatal(err)
	}
	if secret == nil {
		return nil
	}
	var ids []string
	keys, _ := secret.Data["keys"].([]any)
	for _, key := range keys {
		ids = append(ids, fmt.Sprintf("%s/%s", path, key))
	}
	return ids
}

// connects tells whether the database takes a user's password.
func (w *world) connects(ctx context.Context, user, password string) error {
	conn, err := pgx.Connect(ctx, w.postgres.URL(user, password))
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// eventually awaits what the server does by itself: leases are revoked in the background.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(3 * time.Minute)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("waiting in vain: %s", what)
		case <-tick.C:
		}
	}
}

// wantNothingSecret looks through all that was logged, and through errors.
func (w *world) wantNothingSecret(t *testing.T, errs ...error) {
	t.Helper()
	said := w.log.String() + "\n" + fmt.Sprint(errs)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, secret := range w.secrets {
		if strings.Contains(said, secret) {
			t.Errorf("a secret was told: %.12s...", secret)
		}
	}
}
