package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// file is a state as a person has it in a file.
func file(lineage string, serial int) []byte {
	b, err := json.Marshal(map[string]any{"version": 4, "serial": serial, "lineage": lineage, "outputs": map[string]any{}})
	if err != nil {
		panic(err)
	}
	return b
}

func TestPush(t *testing.T) {
	alice := Actor{Name: "alice", Why: "imported by hand"}
	for _, test := range []struct {
		name   string
		serial []int // that are stored, of lineage l
		push   Pushed
		want   string
		err    error
	}{
		{"the first", nil, Pushed{Data: file("m", 7)}, "serial 7 of m", nil},
		{"the next", []int{1, 5}, Pushed{Data: file("l", 6)}, "serial 6 of l", nil},
		{"a lower serial", []int{1, 5}, Pushed{Data: file("l", 4)}, "", ErrOutdated},
		{"the same serial", []int{1, 5}, Pushed{Data: file("l", 5)}, "", ErrConflict},
		{"another lineage", []int{1, 5}, Pushed{Data: file("m", 9)}, "", ErrConflict},
		{"a lower serial by force", []int{1, 5}, Pushed{Data: file("l", 4), Force: true}, "serial 6 of l", nil},
		{"another lineage by force", []int{1, 5}, Pushed{Data: file("m", 9), Force: true}, "serial 9 of m", nil},
		{"no state", nil, Pushed{Data: []byte(`{"serial": 1}`)}, "", ErrInvalid},
		{"no JSON", nil, Pushed{Data: []byte(`serial`), Force: true}, "", ErrInvalid},
		{"no lineage", nil, Pushed{Data: file("", 1)}, "", ErrInvalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, _ := history(t, Options{Store: newFakeStore()}, test.serial...)
			test.push.By = alice
			v, err := s.Push(t.Context(), uid, test.push)
			wantErr(t, "push", err, test.err)
			if _, lock, err := s.newestLock(t.Context(), uid); err != nil || lock.Holder != nil {
				t.Errorf("the lock is held by %+v, %v", lock.Holder, err)
			}
			if test.err != nil {
				if versions, _ := s.Versions(t.Context(), uid); len(versions) != len(test.serial) {
					t.Errorf("it was written all the same: %q", summary(versions))
				}
				return
			}
			now, data, err := s.Newest(t.Context(), uid)
			must(t, err)
			if diff := cmp.Diff(v, now); diff != "" {
				t.Errorf("the newest version is another:\n%s", diff)
			}
			// What it says of itself is what the list says of it.
			want, err := describe(data)
			must(t, err)
			want.Number, want.At, want.Person, want.Why = now.Number, now.At, alice.Name, alice.Why
			if diff := cmp.Diff(want, now); diff != "" {
				t.Errorf("version (-inside +described)\n%s", diff)
			}
			if got := fmt.Sprintf("serial %d of %s", now.Serial, now.Lineage); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestPushUnderALock(t *testing.T) {
	s, _ := history(t, Options{Store: newFakeStore()}, 1)
	push := Pushed{By: Actor{Name: "alice"}, Data: file("l", 2), Force: true}
	if _, err := s.Push(t.Context(), uid, Pushed{Data: push.Data}); !errors.Is(err, ErrInvalid) {
		t.Errorf("by nobody: got %v, want ErrInvalid", err)
	}
	must(t, s.Lock(t.Context(), uid, holder("a"), info("1")))
	if _, err := s.Push(t.Context(), uid, push); !matches(err, errLocked) {
		t.Errorf("under a run's lock: got %v, want LockedError", err)
	}
	must(t, s.Unlock(t.Context(), uid, holder("a"), info("1")))
	first, err := s.Push(t.Context(), uid, push)
	must(t, err)
	again, err := s.Push(t.Context(), uid, push)
	if err != nil || again.Number != first.Number {
		t.Errorf("the same again: got version %d, %v; want %d as before", again.Number, err, first.Number)
	}
}
