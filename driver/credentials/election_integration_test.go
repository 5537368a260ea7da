//go:build integration

package credentials

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// hour is where leases come from that outlive any test.
const hour = "database/creds/hour"

// TestElections has workers do all that a Run does, again and again, while leaders step down, are killed and sealed.
// Each call ends well, and of what they got nothing stays.
func TestElections(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	given := &leaseIDs{}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	cycles := make([]int, 4)
	for i := range cycles {
		cfg := w.config(t, "deployer", nil)
		cfg.MaxTTL = 10 * time.Minute
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := w.cycle(t, cfg, given); err != nil {
					t.Error(err)
					return
				}
				cycles[i]++
			}
		})
	}
	for name, disturb := range w.disturbances() {
		for range 2 {
			if err := disturb(ctx); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := w.vault.Leader(ctx); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if err := w.cycle(t, w.config(t, "deployer", nil), given); err != nil {
				t.Errorf("after %s: %v", name, err)
			}
		}
	}
	stop()
	wg.Wait()
	eventually(t, "no lease is left of those that were given", func() bool { return given.leave(w.leases(t, hour)) })
	w.tidy(t)
	w.wantNothingSecret(t)
	t.Logf("the workers did %v cycles", cycles)
}

// tidy ends what Vault itself lost: when its leader goes after a lease is kept and before the token that it hangs on is
// noted, its answer never comes, and no revocation finds it. docs/credentials.md tells people the same.
func (w *world) tidy(t *testing.T) {
	t.Helper()
	t.Logf("Vault has lost %d leases", len(w.leases(t, hour)))
	eventually(t, "no lease is left", func() bool {
		if len(w.leases(t, hour)) == 0 {
			return true
		}
		w.root(t, "sys/leases/tidy", nil)
		return false
	})
}

// leaseIDs are those that workers were given.
type leaseIDs struct {
	mu  sync.Mutex
	ids []string
}

func (l *leaseIDs) add(s *Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, lease := range s.leases[1:] {
		l.ids = append(l.ids, lease.id)
	}
}

// leave tells whether none of them is among those that there are.
func (l *leaseIDs) leave(there []string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !slices.ContainsFunc(there, func(id string) bool { return slices.Contains(l.ids, id) })
}

// disturbances are what the cluster has to get over; each gives back all of its nodes.
func (w *world) disturbances() map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"step down": func(ctx context.Context) error { return w.vault.StepDown(ctx) },
		"kill": func(ctx context.Context) error {
			killed, err := w.vault.KillLeader(ctx)
			if err != nil {
				return err
			}
			_, err = w.vault.Leader(ctx)
			return errors.Join(err, w.vault.Restart(ctx, killed))
		},
		"seal": func(ctx context.Context) error {
			leader, err := w.vault.Leader(ctx)
			if err != nil {
				return err
			}
			err = w.vault.Seal(ctx, leader)
			_, leaderErr := w.vault.Leader(ctx)
			return errors.Join(err, leaderErr, w.vault.Unseal(ctx, leader))
		},
		"seal all": func(ctx context.Context) error {
			var err error
			for i := range w.vault.Addresses() {
				err = errors.Join(err, w.vault.Seal(ctx, i))
			}
			for i := range w.vault.Addresses() {
				err = errors.Join(err, w.vault.Unseal(ctx, i))
			}
			return err
		},
	}
}

// cycle is what a Run does: its calls have the time that a Run gives them.
func (w *world) cycle(t *testing.T, cfg Config, given *leaseIDs) error {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	s, err := Login(ctx, cfg)
	if err != nil {
		return err
	}
	a, err := s.Fetch(ctx, Request{Path: hour})
	if err != nil {
		return err
	}
	given.add(s)
	w.remember(a.Data["password"])
	for _, l := range s.leases {
		if _, err := l.renew(ctx, time.Minute); err != nil {
			return err
		}
	}
	if _, err := s.Fetch(ctx, Request{Path: "kv2/data/app"}); err != nil {
		return err
	}
	return s.Revoke(ctx)
}

// A lease outlives an election that takes longer than its renewal has time for, and a cluster without a quorum is told.
func TestKeepWithoutAQuorum(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	s := w.login(t, "deployer")
	w.fetch(t, s, "database/creds/short")
	leader, err := w.vault.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if i != leader {
			w.vault.Kill(i)
		}
	}
	done, _ := keepFor(t, s, time.Second)
	wantClass(t, <-done, job.CredentialsExpired, "the lease of database/creds/short ends at ")
	for i := range 3 {
		if i != leader {
			if err := w.vault.Restart(t.Context(), i); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Revoke(t.Context()); err != nil {
		t.Error(err)
	}
	eventually(t, "no lease is left", func() bool { return len(w.leases(t, "database/creds/short")) == 0 })
}
