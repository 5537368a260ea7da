package state

import (
	"errors"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// An answer to a removal that was lost, or one that was broken off, is no lost state.
func TestARemovalIsRepeated(t *testing.T) {
	want := job.Expected{Lineage: "l", Serial: 3}
	for died := 0; ; died++ {
		store := newFakeStore()
		ranWith(t, newService(store, &pods{}), former, withResources(3, 0))
		first := newService(&dying{store, died}, &pods{}).Purge(t.Context(), Removal{Owner: former, Want: want})
		s := newService(store, &pods{})
		for range 2 {
			if err := s.Purge(t.Context(), Removal{Owner: former, Want: want}); err != nil && !errors.Is(err, ErrNotFound) {
				t.Fatalf("after %d writes: %v", died, err)
			}
		}
		if first == nil {
			return
		}
	}
}

func TestRemovalsAreHeld(t *testing.T) {
	encrypted := []byte(`{"lineage":"l","serial":4,"encrypted_data":"x"}`)
	for _, test := range []struct {
		name    string
		stored  []byte
		removal Removal
		held    bool
		want    error
	}{
		{"nothing there, nothing expected", nil, Removal{}, false, ErrNotFound},
		{"nothing there, something expected", nil, Removal{Want: job.Expected{Serial: 3}}, true, nil},
		{"empty, and older than expected", withResources(2, 0), Removal{Want: job.Expected{Serial: 3}}, true, nil},
		{"empty, of another lineage", withResources(3, 0), Removal{Want: job.Expected{Lineage: "m", Serial: 3}}, true, nil},
		{"empty, as expected", withResources(3, 0), Removal{Want: job.Expected{Lineage: "l", Serial: 3}}, false, nil},
		{"encrypted", encrypted, Removal{}, false, ErrInUse},
		{"encrypted, and a destruction left it so", encrypted, Removal{Destroyed: 4}, false, nil},
		{"encrypted, and written since a destruction", encrypted, Removal{Destroyed: 3}, false, ErrInUse},
		{"resources, whatever a destruction says", withResources(4, 1), Removal{Destroyed: 4}, false, ErrInUse},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newService(newFakeStore(), &pods{})
			if test.stored != nil {
				ranWith(t, s, former, test.stored)
			}
			test.removal.Owner = former
			err := s.Purge(t.Context(), test.removal)
			if isMissing(err) != test.held || !test.held && !errors.Is(err, test.want) {
				t.Errorf("got %v, want held: %t, or %v", err, test.held, test.want)
			}
			if _, readErr := s.State(t.Context(), former.UID); err != nil && test.stored != nil && readErr != nil {
				t.Errorf("it was refused, and the state is gone: %v", readErr)
			}
		})
	}
}

func TestLongNamesFitIntoKeys(t *testing.T) {
	long := strings.Repeat("n", 253)
	o := Owner{UID: strings.Repeat("u", 36), Namespace: strings.Repeat("s", 63), Name: long}
	s := newService(newFakeStore(), &pods{})
	if err := CheckKey(s.named(o.Namespace, o.Name).key(1)); err != nil {
		t.Error(err)
	}
	if s.named("ns", long).dir == s.named("ns", long[:252]+"x").dir {
		t.Error("two names share a journal")
	}
	if err := s.Register(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if got, err := s.OwnerOf(t.Context(), o.UID); err != nil || got.Name != long {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestKept(t *testing.T) {
	s := newService(newFakeStore(), &pods{})
	ranWith(t, s, former, withResources(3, 2))
	ranWith(t, s, Owner{"v", "n2", "ws"}, withResources(1, 1))
	here, err := s.KeptIn(t.Context(), "ns")
	if err != nil || len(here) != 1 || here[0].UID != "u" || here[0].Name != "ws" || *here[0].Resources != 2 ||
		here[0].Versions != 1 || here[0].Serial != 3 {
		t.Errorf("in ns: %+v, %v", here, err)
	}
	if all, err := s.KeptAnywhere(t.Context()); err != nil || len(all) != 2 {
		t.Errorf("in all: %+v, %v", all, err)
	}
}
