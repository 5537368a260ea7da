//go:build integration

package open

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/realservers"
	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/store/storetest"
)

// number makes names of tables and prefixes that no other test has.
var number atomic.Int32

func TestPostgres(t *testing.T) {
	server, err := realservers.StartPostgres(t.Context(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, server.Stop)
	base := server.URL(realservers.Superuser, "") + "&passwordfile=" + file(t, server.Password)
	storetest.Run(t, func(t *testing.T) state.Store {
		store := opened(t, fmt.Sprintf("%s&table=store_%d", base, number.Add(1)))
		t.Cleanup(store.(interface{ Close() }).Close)
		return store
	})
}

func TestS3(t *testing.T) {
	server, err := realservers.StartS3(t.Context(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, server.Stop)
	credentials(t, server.AccessKey, server.SecretKey)
	newBucket := func(t *testing.T) string {
		t.Helper()
		bucket := fmt.Sprintf("bucket-%d", number.Add(1))
		if err := server.Bucket(bucket); err != nil {
			t.Fatal(err)
		}
		return bucket
	}
	t.Run("conformance", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) state.Store { return opened(t, server.URL(newBucket(t))) })
	})
	t.Run("conformance below a prefix", func(t *testing.T) {
		bucket := newBucket(t)
		storetest.Run(t, func(t *testing.T) state.Store {
			return opened(t, strings.Replace(server.URL(bucket), "?", fmt.Sprintf("/p/%d?", number.Add(1)), 1))
		})
	})
	t.Run("a bucket that is gone is no empty store", func(t *testing.T) {
		bucket := newBucket(t)
		store := opened(t, server.URL(bucket))
		if err := server.RemoveBucket(bucket); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Get(t.Context(), "a"); err == nil || errors.Is(err, state.ErrNotFound) {
			t.Errorf("get: got %v", err)
		}
		if keys, err := store.List(t.Context(), ""); err == nil {
			t.Errorf("list: got %v", keys)
		}
	})
	t.Run("rotated keys", func(t *testing.T) { rotateKeys(t, server, newBucket(t)) })
}

// rotateKeys replaces the user of the store twice, while writers go on: the new one comes, the file changes, the old
// one goes.
func rotateKeys(t *testing.T, server *realservers.S3, bucket string) {
	shared := credentials(t, server.AccessKey, server.SecretKey)
	user := func(name string) {
		t.Helper()
		err := server.Admin(t.Context(), "create-user", "--access", name, "--secret", name+"-secret", "--role", "admin")
		if err != nil {
			t.Fatal(err)
		}
	}
	user("first")
	replace(t, shared, profile("first", "first-secret"))
	store := opened(t, server.URL(bucket))
	write(t, store, func() {
		for old, next := "first", "second"; next != ""; {
			user(next)
			replace(t, shared, profile(next, next+"-secret"))
			if err := server.Admin(t.Context(), "delete-user", "--access", old); err != nil {
				t.Error(err)
			}
			old, next = next, map[string]string{"second": "third"}[next]
		}
	})
}

// write lets writers go on before, during and after what is done; none may fail, and everything is there in the end.
func write(t *testing.T, store state.Store, during func()) {
	t.Helper()
	const writers = 6
	ctx, cancel := context.WithCancel(t.Context())
	var wg, begun sync.WaitGroup
	var written [writers]int
	for w := range writers {
		begun.Add(1)
		wg.Go(func() {
			for n := 0; n < 10 || ctx.Err() == nil; n++ {
				if err := store.Create(t.Context(), fmt.Sprintf("rotation/%d/%d", w, n), []byte("x")); err != nil {
					t.Errorf("writer %d: %v", w, err)
					break
				}
				if written[w]++; n == 5 {
					begun.Done()
				}
			}
		})
	}
	begun.Wait()
	during()
	cancel()
	wg.Wait()
	total := 0
	for _, n := range written {
		total += n
	}
	keys, err := store.List(t.Context(), "rotation/")
	if err != nil || len(keys) != total {
		t.Errorf("%d keys are there, %v; %d were written", len(keys), err, total)
	}
	t.Logf("%d writes, all there", total)
}

func stop(t *testing.T, f func() error) {
	if err := f(); err != nil {
		t.Error(err)
	}
}
