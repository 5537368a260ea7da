// Package storetest is the one suite that every state.Store must pass; the state service relies on nothing else.
package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/state"
)

// Run runs the suite; open returns an empty store.
func Run(t *testing.T, open func(t *testing.T) state.Store) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(*testing.T, state.Store)
	}{
		{"what was created is read back", readsBack},
		{"a taken key keeps its value", takenKey},
		{"what isn't there is not found", notThere},
		{"of racing creators one wins", race},
		{"list goes by prefix", lists},
		{"a deleted key is gone and free again", deletes},
		{"big values", bigValues},
		{"keys of every kind", weirdKeys},
		{"unusable keys are refused", unusableKeys},
		{"a cancelled context ends every call", cancelled},
		{"readers never see a torn value", untorn},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

func readsBack(t *testing.T, s state.Store) {
	for i, data := range [][]byte{nil, {}, {0}, []byte("{}"), []byte(strings.Repeat("ab", 4000))} {
		key := fmt.Sprintf("a/%d", i)
		create(t, s, key, data)
		wantValue(t, s, key, data)
	}
}

func takenKey(t *testing.T, s state.Store) {
	create(t, s, "a/b", []byte("first"))
	if err := s.Create(t.Context(), "a/b", []byte("second")); !errors.Is(err, state.ErrExists) {
		t.Errorf("creating a taken key: got %v, want ErrExists", err)
	}
	wantValue(t, s, "a/b", []byte("first"))
}

func notThere(t *testing.T, s state.Store) {
	create(t, s, "a/b", nil)
	for _, key := range []string{"a", "a/", "a/b/", "a/bc", "A/b", "x"} {
		if _, err := s.Get(t.Context(), key); !errors.Is(err, state.ErrNotFound) {
			t.Errorf("getting %q: got %v, want ErrNotFound", key, err)
		}
	}
}

func race(t *testing.T, s state.Store) {
	const racers = 16
	var wg sync.WaitGroup
	errs := make([]error, racers)
	for i := range racers {
		wg.Go(func() { errs[i] = s.Create(t.Context(), "lock/x", fmt.Appendf(nil, "racer %d", i)) })
	}
	wg.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner < 0:
			winner = i
		case err == nil:
			t.Fatalf("racers %d and %d have both won", winner, i)
		case !errors.Is(err, state.ErrExists):
			t.Errorf("racer %d: got %v, want ErrExists", i, err)
		}
	}
	if winner < 0 {
		t.Fatal("nobody has won")
	}
	wantValue(t, s, "lock/x", fmt.Appendf(nil, "racer %d", winner))
}

func lists(t *testing.T, s state.Store) {
	all := []string{"a", "a/b/c/d/e/f", "ab/1", "state/u1/1", "state/u1/10", "state/u1/2", "state/u10/1", "state/u2/1"}
	for _, key := range all {
		create(t, s, key, []byte(key))
	}
	for _, test := range []struct {
		prefix string
		want   []string
	}{
		{"", all},
		{"a", []string{"a", "a/b/c/d/e/f", "ab/1"}},
		{"a/b/c/d/e/", []string{"a/b/c/d/e/f"}},
		{"a/b/c/d/x/", nil},
		{"state/u1", []string{"state/u1/1", "state/u1/10", "state/u1/2", "state/u10/1"}},
		{"state/u1/", []string{"state/u1/1", "state/u1/10", "state/u1/2"}},
		{"state/u1/1", []string{"state/u1/1", "state/u1/10"}},
		{"state/", []string{"state/u1/1", "state/u1/10", "state/u1/2", "state/u10/1", "state/u2/1"}},
		{"none/", nil},
	} {
		wantList(t, s, test.prefix, test.want)
	}
}

func deletes(t *testing.T, s state.Store) {
	create(t, s, "a/1", []byte("one"))
	create(t, s, "a/2", []byte("two"))
	for range 2 {
		if err := s.Delete(t.Context(), "a/1"); err != nil {
			t.Fatalf("deleting: %v", err)
		}
	}
	if _, err := s.Get(t.Context(), "a/1"); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("getting a deleted key: got %v, want ErrNotFound", err)
	}
	wantList(t, s, "a/", []string{"a/2"})
	create(t, s, "a/1", []byte("again"))
	wantValue(t, s, "a/1", []byte("again"))
}

func bigValues(t *testing.T, s state.Store) {
	noise := make([]byte, 20<<20)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	// Around the sizes of pieces that a store may cut a value into, and a value that packs to nothing.
	for _, data := range [][]byte{
		noise[:900<<10-1], noise[:900<<10], noise[:900<<10+1], noise[:1<<20], noise, make([]byte, 64<<20),
	} {
		key := fmt.Sprintf("big/%d", len(data))
		create(t, s, key, data)
		wantValue(t, s, key, data)
		if err := s.Create(t.Context(), key, data); !errors.Is(err, state.ErrExists) {
			t.Errorf("creating %s twice: got %v, want ErrExists", key, err)
		}
		if err := s.Delete(t.Context(), key); err != nil {
			t.Errorf("deleting %s: %v", key, err)
		}
	}
	wantList(t, s, "", nil)
}

func weirdKeys(t *testing.T, s state.Store) {
	keys := []string{
		"/", "//", "a//b", ".", "..", "../../etc/passwd", "a b", "UPPER/Case", "upper/case", "a%2Fb", "a/b%",
		"naïve/ключ/鍵", "\"quoted\" ${x} %{y}", "new\nline", "nul\x00", "-", "!", "a!2F", "a.v", "a.v/b",
		strings.Repeat("k", state.MaxKey), strings.Repeat("d/", 100) + "deep",
	}
	for _, key := range keys {
		create(t, s, key, []byte(key))
	}
	for _, key := range keys {
		wantValue(t, s, key, []byte(key))
		got, err := s.List(t.Context(), key)
		if err != nil || len(got) == 0 || got[0] != key {
			t.Errorf("listing %q: got %q, %v", key, got, err)
		}
	}
}

func unusableKeys(t *testing.T, s state.Store) {
	for _, key := range []string{"", "\xff", strings.Repeat("k", state.MaxKey+1)} {
		if err := s.Create(t.Context(), key, nil); !errors.Is(err, state.ErrKey) {
			t.Errorf("creating %q: got %v, want ErrKey", key, err)
		}
		if _, err := s.Get(t.Context(), key); !errors.Is(err, state.ErrKey) {
			t.Errorf("getting %q: got %v, want ErrKey", key, err)
		}
	}
}

func cancelled(t *testing.T, s state.Store) {
	create(t, s, "a/1", nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, getErr := s.Get(ctx, "a/1")
	_, missErr := s.Get(ctx, "a/2")
	_, listErr := s.List(ctx, "a/")
	for name, err := range map[string]error{
		"create": s.Create(ctx, "a/2", nil), "delete": s.Delete(ctx, "a/1"),
		"get": getErr, "get what isn't there": missErr, "list": listErr,
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want context.Canceled", name, err)
		}
	}
	wantList(t, s, "", []string{"a/1"})
}

// untorn reads and lists while a big value is created and deleted again and again.
func untorn(t *testing.T, s state.Store) {
	data := make([]byte, 2<<20)
	if _, err := rand.Read(data); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(done)
		for range 5 {
			create(t, s, "big", data)
			if err := s.Delete(t.Context(), "big"); err != nil {
				t.Errorf("deleting: %v", err)
			}
		}
	})
	for open := true; open; {
		select {
		case <-done:
			open = false
		default:
		}
		got, err := s.Get(t.Context(), "big")
		if err == nil && !bytes.Equal(got, data) {
			t.Fatalf("read a torn value of %d bytes", len(got))
		}
		if err != nil && !errors.Is(err, state.ErrNotFound) {
			t.Fatalf("reading: %v", err)
		}
	}
	wg.Wait()
}

func create(t *testing.T, s state.Store, key string, data []byte) {
	t.Helper()
	if err := s.Create(t.Context(), key, data); err != nil {
		t.Errorf("creating %.40q: %v", key, err)
	}
}

func wantValue(t *testing.T, s state.Store, key string, want []byte) {
	t.Helper()
	got, err := s.Get(t.Context(), key)
	if err != nil {
		t.Errorf("getting %.40q: %v", key, err)
	} else if !bytes.Equal(got, want) {
		t.Errorf("getting %.40q: got other data (%d bytes) than was stored (%d bytes)", key, len(got), len(want))
	}
}

func wantList(t *testing.T, s state.Store, prefix string, want []string) {
	t.Helper()
	got, err := s.List(t.Context(), prefix)
	if err != nil {
		t.Errorf("listing %q: %v", prefix, err)
		return
	}
	if len(got) == 0 {
		got = nil
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("listing %q (-want +got):\n%s", prefix, diff)
	}
}
