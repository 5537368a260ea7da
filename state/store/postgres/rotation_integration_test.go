//go:build integration

package postgres

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"k8s.io/utils/clock"

	"github.com/plumbline-dev/plumbline/internal/realservers"
	"github.com/plumbline-dev/plumbline/state"
)

func server(t *testing.T) *realservers.Postgres {
	t.Helper()
	s, err := realservers.StartPostgres(t.Context(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func exec(t *testing.T, s *realservers.Postgres, sql string) {
	t.Helper()
	if err := s.Exec(t.Context(), sql); err != nil {
		t.Errorf("%s: %v", sql, err)
	}
}

// kick ends the sessions of a user, as an administrator or a revoked lease does.
func kick(user string) string {
	return "select pg_terminate_backend(pid) from pg_stat_activity where usename = '" + user + "'"
}

func TestStaticRoleWhosePasswordChanges(t *testing.T) {
	s := server(t)
	exec(t, s, "create role plumbline login password 'p0'; grant all on schema public to plumbline")
	password := filepath.Join(t.TempDir(), "password")
	replace(t, password, "p0\n")
	store := opened(t, s.URL("plumbline", "")+"&passwordfile="+password)
	goOn(t, store, func(again func()) {
		for n := 1; n <= 4; n++ {
			next := fmt.Sprintf("p%d", n)
			exec(t, s, "alter role plumbline password '"+next+"'")
			if n%2 == 0 {
				exec(t, s, kick("plumbline")) // nobody gets in until the file changes
			} else {
				again() // sessions stay as they are
			}
			replace(t, password, next)
			again()
		}
	})
}

// As Vault's database engine does: each user is a member of one role that owns the table.
func TestDynamicRoleWhoseUserChanges(t *testing.T) {
	s := server(t)
	exec(t, s, "create role owner; grant all on schema public to owner")
	user := func(n int) string {
		exec(t, s, fmt.Sprintf("create role u%d login password 'p%d' in role owner", n, n))
		return fmt.Sprintf("u%d", n)
	}
	folder := t.TempDir()
	userFile, passwordFile := filepath.Join(folder, "username"), filepath.Join(folder, "password")
	replace(t, userFile, user(0))
	replace(t, passwordFile, "p0")
	store := opened(t, "postgres://"+s.Host+"/postgres?sslmode=disable&role=owner&userfile="+userFile+
		"&passwordfile="+passwordFile)
	goOn(t, store, func(again func()) {
		for n := 1; n <= 3; n++ {
			next := user(n)
			replace(t, passwordFile, fmt.Sprintf("p%d", n)) // for a moment of the user before
			replace(t, userFile, next)
			before := fmt.Sprintf("u%d", n-1)
			if n%2 == 0 {
				exec(t, s, kick(before))
			}
			exec(t, s, "drop role "+before)
			again()
		}
	})
}

func opened(t *testing.T, address string) *Store {
	t.Helper()
	store, err := Open(t.Context(), address, clock.RealClock{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	if err := state.Prove(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	return store
}

// goOn lets writers go on while something is done to the store; none may fail. What is done calls again to wait for
// more writes.
func goOn(t *testing.T, store *Store, during func(again func())) {
	t.Helper()
	const writers = 8
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	done := make(chan struct{}, 1<<20)
	for w := range writers {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				if err := store.Create(t.Context(), fmt.Sprintf("rotation/%d/%d", w, n), []byte("x")); err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
				done <- struct{}{}
			}
		})
	}
	total := 0
	more := func() {
		for range 50 + len(done) { // those that are done already tell nothing
			select {
			case <-done:
				total++
			case <-time.After(time.Minute):
				t.Fatal("the writers have stopped")
			}
		}
	}
	more()
	during(more)
	more()
	cancel()
	wg.Wait()
	total += len(done)
	keys, err := store.List(t.Context(), "rotation/")
	if err != nil || len(keys) != total {
		t.Errorf("%d keys are there, %v; %d were written", len(keys), err, total)
	}
	t.Logf("%d writes, all there", total)
}

func replace(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}
