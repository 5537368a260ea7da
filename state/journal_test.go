package state

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fakeStore counts requests, and fails where a test tells it to. (The real ones import this package.)
type fakeStore struct {
	values map[string]string
	fail   func(op, key string) error
	ops    []string
}

func newFakeStore() *fakeStore { return &fakeStore{values: map[string]string{}} }

func (f *fakeStore) note(op, key string) error {
	f.ops = append(f.ops, op+" "+key)
	if f.fail == nil {
		return nil
	}
	return f.fail(op, key)
}

func (f *fakeStore) Create(_ context.Context, key string, data []byte) error {
	if err := f.note("create", key); err != nil {
		return err
	}
	if _, ok := f.values[key]; ok {
		return ErrExists
	}
	f.values[key] = string(data)
	return nil
}

func (f *fakeStore) Get(_ context.Context, key string) ([]byte, error) {
	if err := f.note("get", key); err != nil {
		return nil, err
	}
	data, ok := f.values[key]
	if !ok {
		return nil, ErrNotFound
	}
	return []byte(data), nil
}

func (f *fakeStore) List(_ context.Context, prefix string) ([]string, error) {
	if err := f.note("list", prefix); err != nil {
		return nil, err
	}
	return f.keys(prefix), nil
}

func (f *fakeStore) keys(prefix string) []string {
	var keys []string
	for key := range f.values {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

func (f *fakeStore) Delete(_ context.Context, key string) error {
	if err := f.note("delete", key); err != nil {
		return err
	}
	delete(f.values, key)
	return nil
}

// journalOf is the view that one more server has of the journal.
func journalOf(s Store) journal { return journal{store: s, dir: "lock/u", hints: newHints()} }

func mustAppend(t *testing.T, j journal, n int) {
	t.Helper()
	for range n {
		last, err := j.newest(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := j.append(t.Context(), last, fmt.Appendf(nil, "record after %d", last.n)); err != nil {
			t.Fatal(err)
		}
	}
}

func wantNewest(t *testing.T, j journal, want uint64) {
	t.Helper()
	r, err := j.newest(t.Context())
	if err != nil || r.n != want {
		t.Errorf("newest is %d (%v), want %d", r.n, err, want)
	}
}

func TestJournalGoesOn(t *testing.T) {
	store := newFakeStore()
	a, b := journalOf(store), journalOf(store)
	wantNewest(t, a, 0)
	mustAppend(t, a, 3)
	wantNewest(t, a, 3)
	wantNewest(t, b, 3)
	mustAppend(t, b, 2)
	wantNewest(t, a, 5)
	if _, err := b.prune(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	want := []string{"lock/u/000000000000", "lock/u/000000000004", "lock/u/000000000005"}
	if diff := cmp.Diff(want, store.keys("")); diff != "" {
		t.Errorf("after pruning (-want +got):\n%s", diff)
	}
	wantNewest(t, a, 5)
	wantNewest(t, journalOf(store), 5)
	if err := a.erase(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantNewest(t, a, 0)
	wantNewest(t, b, 0)
	wantNewest(t, journalOf(store), 0)
}

// The usual path may not get slower unnoticed: each of these requests is waited for by Terraform.
func TestJournalRequests(t *testing.T) {
	store := newFakeStore()
	j := journalOf(store)
	for _, test := range []struct {
		name string
		do   func()
		want []string
	}{
		{"look at an empty journal", func() { wantNewest(t, j, 0) },
			[]string{"get lock/u/000000000001", "get lock/u/000000000000"}},
		{"append the first", func() { mustAppend(t, j, 1) }, []string{
			"get lock/u/000000000001", "get lock/u/000000000000",
			"create lock/u/000000000001", "get lock/u/000000000000"}},
		{"look at the newest", func() { wantNewest(t, j, 1) },
			[]string{"get lock/u/000000000002", "get lock/u/000000000001"}},
		{"append another", func() { mustAppend(t, j, 1) }, []string{
			"get lock/u/000000000002", "get lock/u/000000000001",
			"create lock/u/000000000002", "get lock/u/000000000001"}},
	} {
		store.ops = nil
		test.do()
		if diff := cmp.Diff(test.want, store.ops); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// A server that was paused between reading and writing wakes up when its number is free again.
func TestLateAppendIsNoticed(t *testing.T) {
	for _, pausedAfter := range []int{0, 1, 2, 7} {
		t.Run(fmt.Sprintf("paused after %d", pausedAfter), func(t *testing.T) {
			store := newFakeStore()
			paused, other := journalOf(store), journalOf(store)
			mustAppend(t, paused, pausedAfter)
			last, err := paused.newest(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			mustAppend(t, other, 20)
			if _, err := other.prune(t.Context(), 2); err != nil {
				t.Fatal(err)
			}
			before := store.keys("")

			if _, err := paused.append(t.Context(), last, []byte("late")); !errors.Is(err, errMoved) {
				t.Errorf("appending late: got %v, want errMoved", err)
			}
			if diff := cmp.Diff(before, store.keys("")); diff != "" {
				t.Errorf("the late record has left something (-want +got):\n%s", diff)
			}
			wantNewest(t, paused, uint64(pausedAfter)+20)
			wantNewest(t, other, uint64(pausedAfter)+20)
		})
	}
}

// Even a late record that could not be taken back is never believed.
func TestLateRecordIsNeverTheNewest(t *testing.T) {
	store := newFakeStore()
	paused, hinted, other := journalOf(store), journalOf(store), journalOf(store)
	mustAppend(t, paused, 3)
	wantNewest(t, hinted, 3)
	last, _ := paused.newest(t.Context())
	mustAppend(t, other, 20)
	if _, err := other.prune(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	down := errors.New("down")
	store.fail = func(op, _ string) error {
		if op == "delete" {
			return down
		}
		return nil
	}
	if _, err := paused.append(t.Context(), last, []byte("late")); !errors.Is(err, errMoved) || !errors.Is(err, down) {
		t.Errorf("appending late: got %v, want errMoved and what kept the record from going", err)
	}
	for _, j := range []journal{paused, hinted, other, journalOf(store)} {
		wantNewest(t, j, 23)
	}
}

func TestOfTwoAppendsOneIsTold(t *testing.T) {
	store := newFakeStore()
	a, b := journalOf(store), journalOf(store)
	mustAppend(t, a, 1)
	last, err := b.newest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, a, 1)
	if _, err := b.append(t.Context(), last, []byte("second")); !errors.Is(err, errMoved) {
		t.Errorf("got %v, want errMoved", err)
	}
	wantNewest(t, b, 2)
}

func TestUnreadableIsNotEmpty(t *testing.T) {
	down := errors.New("the store is down")
	for _, op := range []string{"get", "list"} {
		store := newFakeStore()
		mustAppend(t, journalOf(store), 3)
		if _, err := journalOf(store).prune(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		store.fail = func(o, _ string) error {
			if o == op {
				return down
			}
			return nil
		}
		if r, err := journalOf(store).newest(t.Context()); !errors.Is(err, down) {
			t.Errorf("%s fails: got record %d, %v; want the store's error", op, r.n, err)
		}
	}
}

func TestPruneStopsAtTheFirstFailure(t *testing.T) {
	store := newFakeStore()
	mustAppend(t, journalOf(store), 6)
	store.fail = func(op, key string) error {
		if op == "delete" && strings.HasSuffix(key, "2") {
			return errors.New("down")
		}
		return nil
	}
	if _, err := journalOf(store).prune(t.Context(), 1); err == nil {
		t.Error("pruning succeeded, want the store's error")
	}
	if got := store.keys("lock/u/"); len(got) != 6 || got[1] != "lock/u/000000000002" {
		t.Errorf("left are %q, want the mark and 2 to 6", got)
	}
}
