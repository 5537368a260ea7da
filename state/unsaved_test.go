package state

import (
	"bytes"
	"compress/gzip"
	"errors"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/driver/job"
)

func packedState(t *testing.T, state []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(state)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// keep leaves a state that Run a could not save.
func keep(t *testing.T, s *Service, place string, state []byte) Unsaved {
	t.Helper()
	u, err := s.KeepUnsaved(t.Context(), uid, Unsaved{Run: "a", Place: place, Why: "too large"}, packedState(t, state))
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// play carries steps out.
func play(t *testing.T, s *Service, steps ...step) {
	t.Helper()
	for _, step := range steps {
		if err := step.do(s); !matches(err, step.want) {
			t.Fatalf("%s: %v, want %v", step.what, err, step.want)
		}
	}
}

// TestUnsavedStateIsStoredFirst: it waits, whatever else goes, is stored as the newest version, and is gone then.
func TestUnsavedStateIsStoredFirst(t *testing.T) {
	s := newService(newFakeStore(), &pods{})
	play(t, s, lock("a", "1", nil), write("a", "1", 1, nil), unlock("a", "1", nil))
	kept := keep(t, s, "", tfstate(2))
	if again := keep(t, s, "", tfstate(2)); again.ID != kept.ID {
		t.Errorf("the same again is %s, and was %s", again.ID, kept.ID)
	}
	must(t, s.EraseRun(t.Context(), RunID{UID: uid, Run: "a"}), s.sweepArchive(t.Context(), time.Nanosecond))
	play(t, s, purge(ErrInUse))
	wantErr(t, "while one waits", s.NoneUnsaved(t.Context(), uid), ErrUnsaved)
	list, err := s.Unsaved(t.Context(), uid)
	if err != nil || len(list) != 1 || list[0].Run != "a" || list[0].Why != "too large" {
		t.Fatalf("listed %+v, %v", list, err)
	}
	left, err := s.StoreUnsaved(t.Context(), uid, holder("b"))
	if err != nil || len(left) != 0 {
		t.Fatalf("left %+v, %v", left, err)
	}
	play(t, s, reads(string(tfstate(2))), lock("c", "3", nil), unlock("c", "3", nil))
	v, err := s.Versions(t.Context(), uid)
	if err != nil || v[0].Run != "b" || v[0].Serial != 2 {
		t.Errorf("versions %+v, %v", v, err)
	}
	wantErr(t, "afterwards", s.NoneUnsaved(t.Context(), uid), nil)
}

func TestUnsavedStates(t *testing.T) {
	otherLineage := []byte(`{"lineage":"other","serial":9}`)
	tests := []struct {
		name   string
		before []step
		kept   []byte
		place  string
		want   error
		state  string
		waits  bool
	}{
		{"the first state of all", nil, tfstate(1), "", nil, string(tfstate(1)), false},
		{"it arrived after all", []step{lock("a", "1", nil), write("a", "1", 1, nil), unlock("a", "1", nil)},
			tfstate(1), "", nil, string(tfstate(1)), false},
		{"another lineage", []step{lock("a", "1", nil), write("a", "1", 1, nil), unlock("a", "1", nil)},
			otherLineage, "", ErrUnsaved, string(tfstate(1)), true},
		{"a newer one was written by somebody", []step{lock("a", "1", nil), write("a", "1", 5, nil), unlock("a", "1", nil)},
			tfstate(2), "", ErrUnsaved, string(tfstate(5)), true},
		{"no state at all", nil, []byte("<html>"), "", ErrUnsaved, "", true},
		{"the lock is somebody's", []step{lock("a", "1", nil)}, tfstate(1), "", errLocked, "", true},
		{"of another backend", nil, tfstate(1), "digest", nil, "", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newService(newFakeStore(), &pods{})
			play(t, s, test.before...)
			kept := keep(t, s, test.place, test.kept)
			left, err := s.StoreUnsaved(t.Context(), uid, holder("b"))
			if !matches(err, test.want) || (len(left) > 0) != (test.place != "") {
				t.Errorf("left %+v, %v", left, err)
			}
			play(t, s, reads(test.state))
			if waits := s.NoneUnsaved(t.Context(), uid) != nil; waits != test.waits {
				t.Errorf("waits: %v", waits)
			}
			got, err := s.UnsavedState(t.Context(), uid, kept.ID)
			if test.waits && (err != nil || !bytes.Equal(got, packedState(t, test.kept))) {
				t.Errorf("it is not what was kept: %v", err)
			}
			if err := s.DropUnsaved(t.Context(), uid, kept.ID); err != nil || s.NoneUnsaved(t.Context(), uid) != nil {
				t.Errorf("dropped: %v", err)
			}
		})
	}
}

// TestUnsavedStatesDontCrowdEachOtherOut: what a lost Pod leaves late takes no other's place.
func TestUnsavedStatesDontCrowdEachOtherOut(t *testing.T) {
	s := newService(newFakeStore(), &pods{})
	for n := range maxUnsaved {
		keep(t, s, "", tfstate(n+1))
	}
	_, err := s.KeepUnsaved(t.Context(), uid, Unsaved{Run: "a"}, packedState(t, tfstate(9)))
	if list, _ := s.Unsaved(t.Context(), uid); !errors.Is(err, ErrConflict) || len(list) != maxUnsaved {
		t.Errorf("%d wait, %v", len(list), err)
	}
	if _, err := s.StoreUnsaved(t.Context(), uid, holder("b")); err != nil {
		t.Fatal(err)
	}
	play(t, s, reads(string(tfstate(maxUnsaved))))
}

// TestATakeOverBringsWhatWasNotSaved: a restored Workspace doesn't begin beside a state that its former Runs could not
// save, and who takes that Workspace's state over gets it, and what stands in no state, too.
func TestATakeOverBringsWhatWasNotSaved(t *testing.T) {
	packed := packedState(t, withResources(4, 3))
	for name, stored := range map[string][]byte{"after a state": withResources(3, 1), "before any": nil} {
		t.Run(name, func(t *testing.T) {
			s := newService(newFakeStore(), &pods{})
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			if stored != nil {
				ranWith(t, s, former, stored)
			}
			must(s.Register(t.Context(), former))
			_, err := s.KeepUnsaved(t.Context(), former.UID, Unsaved{Run: "a", Serial: 4, Lineage: "l"}, packed)
			must(err)
			must(s.PutMade(t.Context(), former.UID, "a", []byte(`[{"address":"x"}]`)))
			if err := s.Claim(t.Context(), again); !isMissing(err) {
				t.Errorf("the Workspace made again: %v, want it held", err)
			}
			_, err = s.Adopt(t.Context(), TakeOver{To: again, From: former.UID, Reach: SameName, By: person})
			must(err)
			_, err = s.StoreUnsaved(t.Context(), again.UID, holder("b"))
			must(err)
			v, data, err := s.NewestExpected(t.Context(), again, job.Expected{})
			must(err)
			if got, want := string(data), string(withResources(4, 3)); got != want {
				t.Errorf("the state has serial %d and is %s, want %s", v.Serial, got, want)
			}
			if made, err := s.Made(t.Context(), again.UID); err != nil || len(made) != 1 {
				t.Errorf("what stands in no state: %v, %v", made, err)
			}
		})
	}
}
