package driver

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/plumbline-dev/plumbline/driver/credentials"
	"github.com/plumbline-dev/plumbline/driver/job"
)

// fakeVault gives sessions, and notes what is done with them.
type fakeVault struct {
	mu      sync.Mutex
	answers map[string]credentials.Answer // by path
	errs    map[string]error              // by path, or "login"
	keep    error
	// keeping is closed when something is kept.
	keeping chan struct{}
	did     []string
	configs []credentials.Config
	// before, if set, is called with what is about to be done.
	before func(what string)
}

func (v *fakeVault) note(what string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.did = append(v.did, what)
	if v.before != nil {
		v.before(what)
	}
	_, path, _ := strings.Cut(what, " ")
	return v.errs[path]
}

func (v *fakeVault) login(_ context.Context, cfg credentials.Config) (Session, error) {
	v.mu.Lock()
	v.configs = append(v.configs, cfg)
	v.mu.Unlock()
	if err := v.note(cfg.Role + " login"); err != nil {
		return nil, err
	}
	return fakeSession{v, cfg.Role}, nil
}

type fakeSession struct {
	*fakeVault
	role string
}

func (s fakeSession) Accessor() string { return "accessor-" + s.role }

func (s fakeSession) Fetch(_ context.Context, r credentials.Request) (credentials.Answer, error) {
	what := s.role + " " + r.Path
	if r.Write {
		b, _ := json.Marshal(r.Parameters)
		what += " " + string(b)
	}
	if err := s.note(what); err != nil {
		return credentials.Answer{}, err
	}
	return s.answers[r.Path], nil
}

func (s fakeSession) Keep(ctx context.Context, _ time.Duration) error {
	if s.keep != nil {
		select {
		case <-s.keeping:
			return s.keep
		case <-ctx.Done():
			return nil
		}
	}
	<-ctx.Done()
	return nil
}

func (s fakeSession) Revoke(context.Context) error { return s.note(s.role + " revoke") }

// useVault asks for things of a pretended Vault.
func (b *bench) useVault(requests ...job.VaultRequest) *fakeVault {
	v := &fakeVault{answers: map[string]credentials.Answer{}, errs: map[string]error{}, keeping: make(chan struct{})}
	b.cfg.Login = v.login
	b.cfg.Params.Vault = &job.Vault{
		Address: "https://vault:8200", AuthPath: "auth/jwt", Role: "default", Margin: time.Minute, MaxTTL: time.Hour,
	}
	b.spec.Vault = requests
	root := filepath.Dir(b.cfg.Paths.Temp)
	b.cfg.Paths.VaultToken = filepath.Join(root, "vault-token")
	b.cfg.Paths.Tokens = filepath.Join(root, "tokens")
	b.cfg.Paths.Grants = filepath.Join(root, "grants")
	b.must(os.WriteFile(b.cfg.Paths.VaultToken, []byte("jwt-of-the-pod"), 0o600))
	b.must(os.MkdirAll(b.cfg.Paths.Grants, 0o755))
	return v
}
