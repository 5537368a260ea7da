package state

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/utils/clock"

	"github.com/plumbline-dev/plumbline/driver/job"
)

var (
	former = Owner{UID: "u", Namespace: "ns", Name: "ws"}
	again  = Owner{UID: "u2", Namespace: "ns", Name: "ws"}
	third  = Owner{UID: "u3", Namespace: "ns", Name: "ws"}
	renamd = Owner{UID: "u4", Namespace: "ns", Name: "other"}
	person = Actor{Name: "alice", Why: "restored"}
)

func withResources(serial, n int) []byte {
	one := `{"mode":"managed","instances":[{}]}`
	all := strings.TrimSuffix(strings.Repeat(one+",", n), ",")
	return fmt.Appendf(nil, `{"version":4,"lineage":"l","serial":%d,"resources":[%s]}`, serial, all)
}

// ranWith is what a Run does: it claims, and writes under a lock.
func ranWith(t *testing.T, s *Service, o Owner, data []byte) {
	t.Helper()
	for _, err := range []error{
		s.Lock(t.Context(), o.UID, holder("a"), info("1")), s.Claim(t.Context(), o),
		wrote(s.Write(t.Context(), o.UID, claim("a", "1"), data)),
		s.PutOutputs(t.Context(), o.UID, []byte(`{"of":"`+o.UID+`"}`)),
		s.Unlock(t.Context(), o.UID, holder("a"), info("1")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func isMissing(err error) bool {
	_, ok := errors.AsType[*MissingError](err)
	return ok
}

func wantMissing(t *testing.T, err error, says ...string) {
	t.Helper()
	if !isMissing(err) {
		t.Errorf("got %v, want a state that is missing", err)
		return
	}
	for _, part := range says {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("it doesn't say %q: %v", part, err)
		}
	}
}

func TestAStateIsAsExpected(t *testing.T) {
	for _, test := range []struct {
		name   string
		stored []byte
		want   job.Expected
		says   string
	}{
		{"nothing is known", withResources(3, 1), job.Expected{}, ""},
		{"as the last Run left it", withResources(3, 1), job.Expected{Lineage: "l", Serial: 3, Store: "here"}, ""},
		{"newer", withResources(4, 1), job.Expected{Lineage: "l", Serial: 3, Store: "here"}, ""},
		{"a serial alone, from before this release", withResources(3, 1), job.Expected{Serial: 3}, ""},
		{"older", withResources(2, 1), job.Expected{Serial: 3}, "it is older"},
		{"of another lineage", withResources(3, 1), job.Expected{Lineage: "m", Serial: 3}, "lineage was m, and is l"},
		{"in another store", withResources(3, 1), job.Expected{Lineage: "l", Serial: 3, Store: "there"}, "store there"},
		{"absent", nil, job.Expected{Lineage: "l", Serial: 3, Store: "here"}, "serial 3 of lineage l in store here"},
		{"absent, and of the serial alone it is known", nil, job.Expected{Serial: 3}, "the last Run left serial 3"},
		{"absent, and never there", nil, job.Expected{}, ""},
		{"an encrypted state has a lineage and a serial too", []byte(`{"lineage":"l","serial":2,"encrypted_data":"x"}`),
			job.Expected{Lineage: "l", Serial: 3}, "it is older"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newService(newFakeStore(), &pods{})
			s.StoreID = "here"
			if test.stored != nil {
				ranWith(t, s, former, test.stored)
			}
			_, data, err := s.NewestExpected(t.Context(), former, test.want)
			if test.says != "" {
				wantMissing(t, err, test.says)
				test.stored = nil
			} else if test.stored == nil {
				wantErr(t, "reading", err, ErrNotFound)
			}
			if string(data) != string(test.stored) {
				t.Errorf("it shows %q, want %q", data, test.stored)
			}
		})
	}
}

func TestAWorkspaceMadeAgainDoesNotBeginWithNothing(t *testing.T) {
	for _, test := range []struct {
		name   string
		before func(*Service) error
		again  Owner
		says   string
	}{
		{"the name is new", func(*Service) error { return nil }, renamd, ""},
		{"the name had a state", func(*Service) error { return nil }, again, "UID u: serial 3, 2 resources"},
		{"of another namespace", func(*Service) error { return nil }, Owner{UID: "u2", Namespace: "n2", Name: "ws"}, ""},
		{"it was destroyed and is gone", func(s *Service) error {
			ranWith(t, s, former, withResources(4, 0))
			return s.Purge(t.Context(), Removal{Owner: former})
		}, again, ""},
		{"it was empty in the end", func(s *Service) error {
			ranWith(t, s, former, withResources(4, 0))
			return nil
		}, again, ""},
		{"its content can't be told", func(s *Service) error {
			ranWith(t, s, former, []byte(`{"lineage":"l","serial":4,"encrypted_data":"x"}`))
			return nil
		}, again, "encrypted"},
		{"somebody else has taken it over", func(s *Service) error {
			_, err := s.Adopt(t.Context(), TakeOver{To: renamd, From: "u", Reach: SameNamespace, By: person})
			return err
		}, again, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			// Two servers, so that nothing rests on what one of them remembers.
			store := newFakeStore()
			one, two := newService(store, &pods{}), newService(store, &pods{})
			ranWith(t, one, former, withResources(3, 2))
			if err := test.before(two); err != nil {
				t.Fatal(err)
			}
			_, _, err := two.NewestExpected(t.Context(), test.again, job.Expected{})
			claimed := two.Claim(t.Context(), test.again)
			if test.says == "" {
				wantErr(t, "reading", err, ErrNotFound)
				wantErr(t, "claiming", claimed, nil)
				return
			}
			wantMissing(t, err, test.says, "plumbline.dev/adopt-state", "plumbline state adopt ws --from", "none")
			wantMissing(t, claimed)
			wantMissing(t, two.Purge(t.Context(), Removal{Owner: test.again}))
		})
	}
}

func TestAdopt(t *testing.T) {
	s := newService(newFakeStore(), &pods{})
	ranWith(t, s, former, withResources(3, 2))
	over := TakeOver{To: again, From: "u", By: person}
	for range 2 { // asking again is fine: the answer may have been lost
		v, err := s.Adopt(t.Context(), over)
		if err != nil || v.Serial != 3 || v.AdoptedFrom != "u" || v.Person != "alice" {
			t.Fatalf("got %+v, %v", v, err)
		}
	}
	_, data, err := s.NewestExpected(t.Context(), again, job.Expected{Lineage: "l", Serial: 3})
	if err != nil || string(data) != string(withResources(3, 2)) {
		t.Errorf("the state is %s, %v", data, err)
	}
	if out, err := s.Outputs(t.Context(), "u2"); err != nil || string(out) != `{"of":"u"}` {
		t.Errorf("the outputs are %s, %v", out, err)
	}
}

// A state is taken over from the one that has it, and what it was taken over from goes with the last.
func TestAdoptAgain(t *testing.T) {
	s := newService(newFakeStore(), &pods{})
	ranWith(t, s, former, withResources(3, 2))
	_, err := s.Adopt(t.Context(), TakeOver{To: again, From: "u", By: person})
	wantErr(t, "the first", err, nil)
	ranWith(t, s, again, withResources(4, 2))
	_, err = s.Adopt(t.Context(), TakeOver{To: third, From: "u", By: person})
	if !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "UID u2 has taken over") {
		t.Errorf("a second one takes it over: %v", err)
	}
	if v, err := s.Adopt(t.Context(), TakeOver{To: third, From: "u2", By: person}); err != nil || v.Serial != 4 {
		t.Errorf("from the one that has it: %+v, %v", v, err)
	}
	ranWith(t, s, third, withResources(5, 0))
	if err := s.Purge(t.Context(), Removal{Owner: third}); err != nil {
		t.Fatal(err)
	}
	keys, _ := s.Store.List(t.Context(), "")
	for _, key := range keys {
		if strings.HasPrefix(key, "state/") || strings.HasPrefix(key, "owner/") {
			t.Errorf("%s is left", key)
		}
	}
}

func TestAdoptRefuses(t *testing.T) {
	for _, test := range []struct {
		name string
		over TakeOver
		want error
	}{
		{"a UID that has nothing", TakeOver{To: again, From: "x", Reach: Anywhere}, ErrNotFound},
		{"its own, with nothing", TakeOver{To: again, From: "u2"}, ErrNotFound},
		{"under another name", TakeOver{To: renamd, From: "u"}, ErrConflict},
		{"from another namespace", TakeOver{To: Owner{"u9", "n2", "ws"}, From: "u", Reach: Anywhere}, ErrNotFound},
		{"beside a state of its own", TakeOver{To: former, From: "v"}, ErrConflict},
		{"one whose lock is held", TakeOver{To: renamd, From: "v", Reach: SameNamespace}, errLocked},
		{"an owner who isn't known", TakeOver{To: again, From: "bare"}, ErrNotFound},
		{"the same for who may reach everywhere", TakeOver{To: again, From: "bare", Reach: Anywhere}, nil},
		{"under another name, for who may", TakeOver{To: renamd, From: "u", Reach: SameNamespace}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newService(newFakeStore(), &pods{})
			ranWith(t, s, former, withResources(3, 1))
			ranWith(t, s, Owner{"v", "ns", "locked"}, withResources(3, 1))
			ranWith(t, s, Owner{"bare", "ns", "old"}, withResources(3, 1))
			_ = s.owners("bare").erase(t.Context())
			if err := s.Lock(t.Context(), "v", holder("b"), info("2")); err != nil {
				t.Fatal(err)
			}
			test.over.By = person
			if _, err := s.Adopt(t.Context(), test.over); !matches(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

func TestTwoTakeOverOneState(t *testing.T) {
	store := newFakeStore()
	ranWith(t, newService(store, &pods{}), former, withResources(3, 1))
	var won, lost sync.Map
	var group sync.WaitGroup
	for _, o := range []Owner{again, third, renamd} {
		group.Go(func() {
			s := newService(store, &pods{})
			for {
				_, err := s.Adopt(context.Background(), TakeOver{To: o, From: "u", Reach: SameNamespace, By: person})
				if _, locked := errors.AsType[*LockedError](err); locked || errors.Is(err, ErrBusy) {
					continue // one of them is at it
				}
				if err == nil {
					won.Store(o.UID, true)
				} else {
					lost.Store(o.UID, err)
				}
				return
			}
		})
	}
	group.Wait()
	owners := 0
	s := newService(store, &pods{})
	for _, o := range []Owner{again, third, renamd} {
		_, err := s.State(t.Context(), o.UID)
		_, has := won.Load(o.UID)
		if (err == nil) != has {
			t.Errorf("%s won: %t; its state: %v", o.UID, has, err)
		}
		if err == nil {
			owners++
		}
	}
	if owners != 1 {
		t.Errorf("%d Workspaces own the state, want 1", owners)
	}
	lost.Range(func(uid, err any) bool {
		if !errors.Is(err.(error), ErrConflict) {
			t.Errorf("%s was refused with %v", uid, err)
		}
		return true
	})
}

// dying is a store whose server dies before a certain write.
type dying struct {
	Store
	left int
}

var errDied = errors.New("the server died")

func (d *dying) Create(ctx context.Context, key string, data []byte) error {
	if d.left--; d.left < 0 {
		return errDied
	}
	return d.Store.Create(ctx, key, data)
}

func (d *dying) Delete(ctx context.Context, key string) error {
	if d.left--; d.left < 0 {
		return errDied
	}
	return d.Store.Delete(ctx, key)
}

// passed says that no lock of a person, who is gone, holds any more.
func passed(s *Service) *Service {
	s.Clock = laterClock{s.Clock}
	return s
}

func TestATakeOverIsBrokenOff(t *testing.T) {
	for died := 0; ; died++ {
		store := newFakeStore()
		ranWith(t, newService(store, &pods{}), former, withResources(3, 1))
		_, err := newService(&dying{store, died}, &pods{}).Adopt(t.Context(), TakeOver{To: again, From: "u", By: person})
		if err == nil {
			if died < 6 {
				t.Fatalf("a take-over is %d writes: the test is about nothing", died)
			}
			return
		}
		s := passed(newService(store, &pods{}))
		_, data, err := s.NewestExpected(t.Context(), again, job.Expected{})
		if !isMissing(err) && string(data) != string(withResources(3, 1)) {
			t.Fatalf("after %d writes the Workspace has %q, %v: want the state, or that it is missing", died, data, err)
		}
		_, _, err = s.NewestExpected(t.Context(), third, job.Expected{})
		wantMissing(t, err, "serial 3")
		// Whoever is next: the same again, or another one by way of it.
		next := TakeOver{To: again, From: "u", By: person}
		if died%2 == 1 {
			owner, _ := s.OwnerOf(t.Context(), "u")
			next.To = third
			if owner.TakenBy != "" {
				next.From = owner.TakenBy
			}
		}
		if v, err := s.Adopt(t.Context(), next); err != nil || v.Serial != 3 {
			t.Errorf("after %d writes, going on: %+v, %v", died, v, err)
		}
	}
}

// TestATakeOverOfWhatWasMade: where a Run's first state was lost with its engine, what it has made is all there is to
// take over. The Workspace begins when it has that, and not before.
func TestATakeOverOfWhatWasMade(t *testing.T) {
	for died := 0; ; died++ {
		store := newFakeStore()
		s := newService(store, &pods{})
		must(t, s.Claim(t.Context(), former), s.PutMade(t.Context(), former.UID, "a", []byte(`[{}]`)))
		ask := TakeOver{To: again, From: former.UID, By: person}
		_, broken := newService(&dying{store, died}, &pods{}).Adopt(t.Context(), ask)
		s = passed(newService(store, &pods{}))
		_, _, err := s.NewestExpected(t.Context(), again, job.Expected{})
		if made, _ := s.Made(t.Context(), again.UID); len(made) == 0 {
			wantMissing(t, err)
		}
		if _, err := s.Adopt(t.Context(), ask); err != nil {
			t.Errorf("after %d writes, going on: %v", died, err)
		}
		_, _, err = s.NewestExpected(t.Context(), again, job.Expected{})
		wantErr(t, "reading the state, which is none yet", err, ErrNotFound)
		if made, err := s.Made(t.Context(), again.UID); err != nil || len(made) != 1 {
			t.Errorf("after %d writes it has %q, %v", died, made, err)
		}
		if broken == nil {
			return
		}
	}
}

func TestStartingAfreshFreesWhatWasBegun(t *testing.T) {
	for died := range 12 {
		store := newFakeStore()
		ranWith(t, newService(store, &pods{}), former, withResources(3, 1))
		_, err := newService(&dying{store, died}, &pods{}).Adopt(t.Context(), TakeOver{To: again, From: "u", By: person})
		s := passed(newService(store, &pods{}))
		if _, readErr := s.State(t.Context(), "u2"); err == nil || readErr == nil {
			continue // it was through
		}
		if _, err := s.Adopt(t.Context(), TakeOver{To: again, From: AdoptNone, By: person}); err != nil {
			t.Fatalf("after %d writes: %v", died, err)
		}
		if _, _, err := s.NewestExpected(t.Context(), again, job.Expected{}); !errors.Is(err, ErrNotFound) {
			t.Errorf("after %d writes and none: %v, want an empty state", died, err)
		}
		if _, err := s.Adopt(t.Context(), TakeOver{To: third, From: "u", By: person}); err != nil {
			t.Errorf("after %d writes and none another one takes it: %v", died, err)
		}
	}
}

// laterClock is an hour on.
type laterClock struct{ clock.PassiveClock }

func (c laterClock) Now() time.Time { return c.PassiveClock.Now().Add(time.Hour) }
