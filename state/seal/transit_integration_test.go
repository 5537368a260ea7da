//go:build integration

package seal

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/plumbline-dev/plumbline/internal/realservers"
	"github.com/plumbline-dev/plumbline/state/store/memory"
)

// transitServer is a real Vault with a transit key for the state service.
type transitServer struct {
	*realservers.Vault
	token, ca string // files
}

const transitPolicy = `
path "transit/encrypt/plumbline" { capabilities = ["update"] }
path "transit/decrypt/plumbline" { capabilities = ["update"] }
path "transit/encrypt/other" { capabilities = ["update"] }
path "transit/decrypt/other" { capabilities = ["update"] }
path "transit/decrypt/none" { capabilities = ["update"] }
`

func startTransit(t *testing.T) *transitServer {
	t.Helper()
	v, err := realservers.StartVault(t.Context(), t.Logf, realservers.VaultOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Stop(); err != nil {
			t.Error(err)
		}
	})
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	s := &transitServer{Vault: v}
	s.root(t, "sys/mounts/transit", map[string]any{"type": "transit"})
	s.root(t, "transit/keys/plumbline", nil)
	s.root(t, "transit/keys/other", nil)
	s.root(t, "sys/policies/acl/state", map[string]any{"policy": transitPolicy})
	s.root(t, "sys/auth/jwt", map[string]any{"type": "jwt"})
	s.root(t, "auth/jwt/config", map[string]any{
		"jwt_validation_pubkeys": []string{string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))},
	})
	s.root(t, "auth/jwt/role/plumbline-state", map[string]any{
		"role_type": "jwt", "bound_audiences": "vault", "user_claim": "sub", "token_policies": "state",
	})
	signed, err := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"sub": "system:serviceaccount:plumbline-system:state", "aud": "vault",
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	s.token, s.ca = filepath.Join(t.TempDir(), "token"), filepath.Join(t.TempDir(), "ca.crt")
	err = errors.Join(os.WriteFile(s.token, []byte(signed), 0o600), os.WriteFile(s.ca, v.CA(), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *transitServer) root(t *testing.T, path string, data map[string]any) {
	t.Helper()
	client, err := s.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Logical().WriteWithContext(t.Context(), path, data); err != nil {
		t.Fatal(err)
	}
}

// ring is a ring in the same place under a key of the server's.
func (s *transitServer) ring(t *testing.T, kept Ring, key string) *WrappedRing {
	t.Helper()
	query := url.Values{"auth": {"auth/jwt"}, "token": {s.token}, "ca": {s.ca}}
	transit, err := ParseTransit(s.Addresses()[0] + "/" + key + "?" + query.Encode())
	if err != nil {
		t.Fatal(err)
	}
	return &WrappedRing{Ring: kept, Key: transit}
}

func TestTransit(t *testing.T) {
	server := startTransit(t)
	raw, kept := &memory.Store{}, &fakeRing{}
	create(t, open(t, raw, kept), "state/u/1", secret) // from before
	ring := server.ring(t, kept, "plumbline")
	s := open(t, raw, ring)
	if err := ring.Wrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := wrapVersion(kept); got != "v1" {
		t.Errorf("wrapped with %s, want v1", got)
	}
	server.root(t, "transit/keys/plumbline/rotate", nil)
	if err := ring.Wrap(t.Context()); err != nil || wrapVersion(kept) != "v2" {
		t.Errorf("after a rotation: %v, wrapped with %s, want v2", err, wrapVersion(kept))
	}
	if _, err := s.Rotate(t.Context()); err != nil {
		t.Error(err)
	}
	wantValue(t, open(t, raw, server.ring(t, kept, "plumbline")), "state/u/1", secret)
	for key, want := range map[string]error{"other": ErrWrongKey, "none": ErrWrongKey} {
		_, err := Open(t.Context(), options(raw, server.ring(t, kept, key)))
		if !errors.Is(err, want) {
			t.Errorf("with key %s: got %v, want %v", key, err, want)
		}
	}
	_, err := Open(t.Context(), options(raw, server.ring(t, kept, "forbidden")))
	wantMayPass(t, err, "permission denied")
	if err := ring.Unwrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantValue(t, open(t, raw, kept), "state/u/1", secret)
}

// wrapVersion is the version of the server's key that a ring is wrapped with, or the ring when it is with neither.
func wrapVersion(kept *fakeRing) string {
	for _, v := range []string{"v1", "v2"} {
		if bytes.Contains(kept.data, []byte(encodedPrefix("vault:"+v+":"))) {
			return v
		}
	}
	return string(kept.data)
}

// wantMayPass fails unless the error says so, and isn't one of the wrong key, which never passes.
func wantMayPass(t *testing.T, err error, says string) {
	t.Helper()
	if err == nil || errors.Is(err, ErrWrongKey) || !strings.Contains(err.Error(), says) {
		t.Errorf("got %v, want an error that may pass, with %q", err, says)
	}
}

// encodedPrefix is how a text begins in base64, but for the last group.
func encodedPrefix(text string) string {
	return base64.StdEncoding.EncodeToString([]byte(text[:len(text)/3*3]))
}

// A server that is sealed or can't be reached is waited for; what is there is neither changed nor taken for nothing.
func TestTransitThatIsAway(t *testing.T) {
	server := startTransit(t)
	raw, kept := &memory.Store{}, &fakeRing{}
	create(t, open(t, raw, server.ring(t, kept, "plumbline")), "state/u/1", secret)
	before := bytes.Clone(kept.data)
	if err := server.Seal(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	opened := make(chan *Store, 1)
	go func() {
		s, err := Open(t.Context(), options(raw, server.ring(t, kept, "plumbline")))
		if err != nil {
			t.Error(err)
		}
		opened <- s
	}()
	if err := server.Unseal(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	wantValue(t, <-opened, "state/u/1", secret)
	server.Kill(0)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := Open(ctx, options(raw, server.ring(t, kept, "plumbline")))
	wantMayPass(t, err, "connection refused")
	if !bytes.Equal(before, kept.data) {
		t.Error("the ring was changed")
	}
}
