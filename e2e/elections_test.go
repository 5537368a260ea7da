//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/e2e/kit"
)

// TestElections: a hundred Runs while the leader of a Vault of its own steps down or is killed every few seconds. All
// end well by themselves, and leave no lease.
func TestElections(t *testing.T) {
	t.Parallel()
	const workspaces, each = 6, 17
	v, s := suite.OwnVault(t), suite.NewSpace(t)
	s.Patience = 4 * time.Minute
	users := v.Grant(t, s, time.Hour, 2*time.Hour) // longer than the test: what is left was not revoked
	class := s.VaultClass(t, v)
	stop := unrest(t, v)
	var all []*v1alpha1.Workspace
	for i := range workspaces {
		all = append(all, s.Workspace(fmt.Sprintf("w%d", i), map[string]string{"main.tf": databaseUser}, class,
			withCredentials(fromVault("database", users, userAndPassword)), func(w *v1alpha1.Workspace) {
				w.Spec.History = &v1alpha1.History{Succeeded: new(int32(100)), Failed: new(int32(100))}
			}))
	}
	t.Run("Runs", func(t *testing.T) {
		for _, w := range all {
			t.Run(w.Name, func(t *testing.T) {
				t.Parallel()
				s.Create(t, w)
				s.AwaitReady(t, w)
				for round := range each - 1 {
					s.Rerun(t, w, fmt.Sprint(round))
					kit.Await(t, s, w, func(w *v1alpha1.Workspace) bool {
						return kit.Ready(w) && w.Status.LastRerun == fmt.Sprint(round)
					})
				}
			})
		}
	})
	t.Logf("meanwhile: %s", stop())
	count := map[string]int{}
	for _, w := range all {
		for _, r := range s.Runs(t, w) {
			count[r.Status.Class]++
		}
	}
	t.Logf("%d Workspaces, their Runs ended as %v", workspaces, count)
	wantEndedWell(t, count, workspaces*each)
	s.Patience = time.Minute
	v.AwaitNoLease(t, s, users)
}

// wantEndedWell takes how many Runs ended as each class: so many have to be good, and a class of others is one that
// is tried again for as long as it lasts.
func wantEndedWell(t *testing.T, count map[string]int, want int) {
	t.Helper()
	if good := count[string(job.Applied)] + count[string(job.NoChanges)]; good != want {
		t.Errorf("%d Runs ended well, want %d", good, want)
	}
	for c, n := range count {
		if p := job.Class(c).Policy(); p != job.Done && p != job.Persist {
			t.Errorf("%d Runs ended as %s", n, c)
		}
	}
}

// unrest harms Vault's leader by turns until the returned function is called, which tells what was done and waits until
// Vault is whole again.
func unrest(t *testing.T, v *kit.Vault) (stop func() string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	var said []string
	harm := []struct {
		name string
		do   func(context.Context) error
	}{
		{"stepped down", v.StepDown},
		{"stepped down", v.StepDown},
		{"killed", func(ctx context.Context) error {
			node, err := v.KillLeader(ctx)
			if err != nil {
				return err
			}
			return v.Restart(context.WithoutCancel(ctx), node)
		}},
	}
	done.Go(func() {
		every := time.NewTicker(10 * time.Second)
		defer every.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-every.C:
			}
			h := harm[i%len(harm)]
			if err := h.do(ctx); err != nil && ctx.Err() == nil {
				t.Logf("Vault's leader could not be %s: %v", h.name, err)
				continue
			}
			said = append(said, h.name)
		}
	})
	stopped := sync.OnceValue(func() string {
		cancel()
		done.Wait()
		if _, err := v.Leader(kit.After(t)); err != nil {
			t.Errorf("waiting for Vault's leader: %v", err)
		}
		times := map[string]int{}
		for _, what := range said {
			times[what]++
		}
		var parts []string
		for _, what := range slices.Sorted(maps.Keys(times)) {
			parts = append(parts, fmt.Sprintf("the leader was %s %d times", what, times[what]))
		}
		return strings.Join(parts, ", ")
	})
	t.Cleanup(func() { stopped() })
	return stopped
}
