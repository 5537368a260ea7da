package state

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// breaking has the store fail to open these keys, as a sealed value does that was changed.
func breaking(store *fakeStore, keys ...string) {
	store.fail = func(op, key string) error {
		if op == "get" && slices.Contains(keys, key) {
			return fmt.Errorf("%w: the seal is broken", ErrDamaged)
		}
		return nil
	}
}

func stateKey(n int) string { return fmt.Sprintf("state/%s/%012d", uid, n) }

// damages are ways for version 3 of three to be unreadable.
var damages = []struct {
	name string
	do   func(store *fakeStore)
}{
	{"a broken seal", func(store *fakeStore) { breaking(store, stateKey(3)) }},
	{"a cut head", func(store *fakeStore) { store.values[stateKey(3)] = store.values[stateKey(3)][:60] }},
	{"a cut state", func(store *fakeStore) {
		store.values[stateKey(3)] = strings.TrimSuffix(store.values[stateKey(3)], "}")
	}},
	{"something else", func(store *fakeStore) { store.values[stateKey(3)] = "<html>" }},
}

var alice = Actor{Name: "alice", Why: "the disk was full"}

// wantDamaged wants an error of its own kind: neither an absence nor the caller's fault.
func wantDamaged(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, ErrDamaged) || errors.Is(err, ErrNotFound) || errors.Is(err, ErrInvalid) {
		t.Errorf("%s: got %v, want ErrDamaged", what, err)
	}
}

func TestADamagedStateIsRepaired(t *testing.T) {
	for _, damage := range damages {
		t.Run(damage.name, func(t *testing.T) {
			store := newFakeStore()
			s, _ := history(t, Options{Store: store, KeepVersions: 4}, 1, 5, 9)
			damage.do(store)
			_, err := s.State(t.Context(), uid)
			wantDamaged(t, "reading", err)
			must(t, s.Lock(t.Context(), uid, holder("a"), info("1")))
			_, err = s.Write(t.Context(), uid, claim("a", "1"), content("l", 10, "a"))
			wantDamaged(t, "writing", err)
			must(t, s.Unlock(t.Context(), uid, holder("a"), info("1")))
			wantDamaged(t, "purging", s.Purge(t.Context(), removal(uid)))
			wantErr(t, "purging", s.Purge(t.Context(), removal(uid)), ErrInUse)

			done, err := s.Repair(t.Context(), uid, alice)
			must(t, err)
			if diff := cmp.Diff([]string{stateKey(3)}, done.Damaged); diff != "" {
				t.Errorf("damaged (-want +got):\n%s", diff)
			}
			v, data, err := s.Newest(t.Context(), uid)
			if err != nil || string(data) == "" || v.Serial != 106 || v.RollbackOf != 2 || v.Person != "alice" {
				t.Errorf("the newest is %+v, %s, %v; want version 2's content with serial 106", v, data, err)
			}
			if diff := cmp.Diff([]uint64{3}, v.Replaces); diff != "" {
				t.Errorf("replaces (-want +got):\n%s", diff)
			}
			wantKept(t, s, store)
		})
	}
}

// wantKept writes until everything from before was pruned, and wants version 3 to be there and listed all the same.
func wantKept(t *testing.T, s *Service, store *fakeStore) {
	t.Helper()
	before := store.values[stateKey(3)]
	must(t, s.Lock(t.Context(), uid, holder("b"), info("2")))
	for serial := range 20 {
		must(t, wrote(s.Write(t.Context(), uid, claim("b", "2"), content("l", 200+serial, "b"))))
		for len(s.prunes) > 0 {
			s.prune(t.Context(), <-s.prunes)
		}
	}
	if _, there := store.values[stateKey(2)]; there || store.values[stateKey(3)] != before {
		t.Errorf("of the versions from before there are %q, want the damaged one as it was", store.keys("state/"))
	}
	versions, err := s.Versions(t.Context(), uid)
	if err != nil || len(versions) == 0 {
		t.Fatalf("listing: %v", err)
	}
	if last := versions[len(versions)-1]; last.Number != 3 || last.Damaged == "" {
		t.Errorf("the list ends with %+v, want the damaged version 3", last)
	}
	if first := versions[0]; first.Damaged != "" || first.Serial != 219 {
		t.Errorf("the list begins with %+v", first)
	}
}

func TestARollbackAndAForcedPushGoOnBehindDamage(t *testing.T) {
	for _, damage := range damages {
		for name, do := range map[string]func(s *Service) (Version, error){
			"rollback": func(s *Service) (Version, error) { return s.Rollback(t.Context(), uid, 1, alice) },
			"push": func(s *Service) (Version, error) {
				return s.Push(t.Context(), uid, Pushed{By: alice, Data: content("l", 9, "mine"), Force: true})
			},
		} {
			t.Run(name+" behind "+damage.name, func(t *testing.T) {
				store := newFakeStore()
				s, _ := history(t, Options{Store: store}, 1, 5, 9)
				damage.do(store)
				wantDamageSeen(t, s)
				v, err := do(s)
				if err != nil || v.Number != 4 || v.Serial != 106 || !slices.Equal(v.Replaces, []uint64{3}) {
					t.Errorf("got %+v, %v; want version 4 in place of 3, of serial 106", v, err)
				}
				now, _, err := s.Newest(t.Context(), uid)
				if diff := cmp.Diff(v, now); diff != "" || err != nil {
					t.Errorf("the newest is another (%v):\n%s", err, diff)
				}
				if len(store.keys(asideOf(uid))) != 1 {
					t.Errorf("kept aside are %q, want version 3", store.keys(asideOf(uid)))
				}
			})
		}
	}
}

// wantDamageSeen wants a push without force to be refused, and version 3 to be listed as damaged.
func wantDamageSeen(t *testing.T, s *Service) {
	t.Helper()
	_, err := s.Push(t.Context(), uid, Pushed{By: alice, Data: content("l", 90, "mine")})
	wantDamaged(t, "pushing without force", err)
	versions, err := s.Versions(t.Context(), uid)
	if err != nil || len(versions) != 3 || versions[0].Damaged == "" || versions[1].Serial != 5 {
		t.Errorf("listed are %+v, %v", versions, err)
	}
}

func TestNothingIsRepairedThatIsFine(t *testing.T) {
	store := newFakeStore()
	s, _ := history(t, Options{Store: store}, 1, 2)
	before := store.keys("state/")
	done, err := s.Repair(t.Context(), uid, alice)
	if err != nil || done.Version != nil || len(done.Damaged) > 0 {
		t.Errorf("got %+v, %v; want that there was nothing to do", done, err)
	}
	if diff := cmp.Diff(before, store.keys("state/")); diff != "" {
		t.Errorf("states (-before +after):\n%s", diff)
	}
	must(t, s.Lock(t.Context(), uid, holder("a"), info("1")))
	_, err = s.Repair(t.Context(), uid, alice)
	wantErr(t, "under a run's lock", err, errLocked)
}

func TestWithoutAReadableVersionAPersonsPushIsTheWay(t *testing.T) {
	store := newFakeStore()
	s, _ := history(t, Options{Store: store}, 1, 2)
	breaking(store, stateKey(1), stateKey(2))
	_, err := s.Repair(t.Context(), uid, alice)
	wantDamaged(t, "repairing", err)
	v, err := s.Push(t.Context(), uid, Pushed{By: alice, Data: content("l", 7, "mine"), Force: true})
	if err != nil || v.Serial != 201 || len(v.Replaces) != 2 {
		t.Errorf("got %+v, %v; want a serial above what was lost", v, err)
	}
	if st, err := s.LockStatus(t.Context(), uid); err != nil || st.Held {
		t.Errorf("the lock is %+v, %v; want it free", st, err)
	}
}

// A lock whose record can't be read may be held by anybody: only a person takes it, and whoever held it is kept out.
func TestADamagedLock(t *testing.T) {
	for name, take := range map[string]func(s *Service) error{
		"unlock": func(s *Service) error {
			_, err := s.ForceUnlock(t.Context(), uid, "", alice)
			return err
		},
		"repair": func(s *Service) error {
			done, err := s.Repair(t.Context(), uid, alice)
			if len(done.Damaged) != 1 || done.Version != nil {
				t.Errorf("repaired %+v, want the lock alone", done)
			}
			return err
		},
	} {
		for _, damage := range []string{"broken", "cut"} {
			t.Run(name+" one that is "+damage, func(t *testing.T) {
				store := newFakeStore()
				s := newService(store, &pods{})
				must(t, s.Lock(t.Context(), uid, holder("a"), info("1")),
					wrote(s.Write(t.Context(), uid, claim("a", "1"), content("l", 1, "a"))))
				key := "lock/u/000000000001"
				if breaking(store, key); damage == "cut" {
					store.fail, store.values[key] = nil, store.values[key][:20]
				}
				wantDamaged(t, "locking", s.Lock(t.Context(), uid, holder("b"), info("2")))
				wantDamaged(t, "unlocking", s.Unlock(t.Context(), uid, holder("a"), info("1")))
				_, err := s.Release(t.Context(), uid, Actor{Name: "controller"})
				wantDamaged(t, "releasing", err)
				wantErr(t, "purging", s.Purge(t.Context(), removal(uid)), ErrInUse)
				if st, err := s.LockStatus(t.Context(), uid); err != nil || st.Damaged == "" || st.Held {
					t.Errorf("status: got %+v, %v; want that it is damaged", st, err)
				}
				must(t, take(s))
				wantErr(t, "the former holder writes",
					wrote(s.Write(t.Context(), uid, claim("a", "1"), content("l", 2, "a"))), ErrNotHolder)
				must(t, s.Lock(t.Context(), uid, holder("b"), info("2")))
				must(t, wrote(s.Write(t.Context(), uid, claim("b", "2"), content("l", 2, "b"))))
				if kept := store.keys(asideOf(uid)); len(kept) != 1 || kept[0] != "damaged/u/lock/000000000001" {
					t.Errorf("kept aside are %q, want the lock", kept)
				}
			})
		}
	}
}

// The holder is unknown, and its write is on its way when a person takes the lock.
func TestADamagedLocksHolderIsFencedOff(t *testing.T) {
	store := newFakeStore()
	s, other := newService(store, &pods{}), newService(store, &pods{})
	must(t, s.Lock(t.Context(), uid, holder("a"), info("1")),
		wrote(s.Write(t.Context(), uid, claim("a", "1"), content("l", 1, "before"))))
	store.fail = func(op, key string) error {
		if op+" "+key == "create "+stateKey(2) {
			breaking(store, "lock/u/000000000001")
			_, err := other.ForceUnlock(t.Context(), uid, "", alice)
			must(t, err)
		}
		return nil
	}
	if _, err := s.Write(t.Context(), uid, claim("a", "1"), content("l", 2, "late")); !errors.Is(err, ErrNotHolder) {
		t.Errorf("got %v, want ErrNotHolder", err)
	}
}

func TestDamagedOutputsAreRepaired(t *testing.T) {
	for _, outputs := range [][]string{{`{"a":1}`}, {`{"a":1}`, `{"a":2}`}} {
		store := newFakeStore()
		s, _ := history(t, Options{Store: store}, 1)
		for _, o := range outputs {
			must(t, s.PutOutputs(t.Context(), uid, []byte(o)))
		}
		key := fmt.Sprintf("outputs/u/%012d", len(outputs))
		breaking(store, key)
		_, err := s.Outputs(t.Context(), uid)
		wantDamaged(t, "reading", err)
		done, err := s.Repair(t.Context(), uid, alice)
		if err != nil || !slices.Equal(done.Damaged, []string{key}) || done.Version != nil {
			t.Errorf("repaired %+v, %v; want %s", done, err, key)
		}
		got, err := s.Outputs(t.Context(), uid)
		if len(outputs) == 1 {
			wantErr(t, "reading what there is no other of", err, ErrNotFound)
		} else if err != nil || string(got) != outputs[0] {
			t.Errorf("got %s, %v; want those from before", got, err)
		}
		must(t, s.PutOutputs(t.Context(), uid, []byte(`{"a":3}`)))
	}
}

// A record of states that wait to be stored says that something does, also when it can't be read.
func TestADamagedRecordOfUnsavedStates(t *testing.T) {
	store := newFakeStore()
	s, _ := history(t, Options{Store: store}, 1)
	_, err := s.KeepUnsaved(t.Context(), uid, Unsaved{Run: "a"}, []byte("packed"))
	must(t, err)
	key := "unsaved/u/000000000001"
	breaking(store, key)
	err = s.NoneUnsaved(t.Context(), uid)
	wantDamaged(t, "asking whether any waits", err)
	wantErr(t, "asking whether any waits", err, ErrUnsaved)
	wantErr(t, "purging", s.Purge(t.Context(), removal(uid)), ErrInUse)
	done, err := s.Repair(t.Context(), uid, alice)
	if err != nil || !slices.Equal(done.Damaged, []string{key}) || done.Version != nil {
		t.Errorf("repaired %+v, %v; want %s", done, err, key)
	}
	must(t, s.NoneUnsaved(t.Context(), uid))
	if _, kept := store.values[key]; !kept || len(store.keys(asideOf(uid))) != 1 {
		t.Errorf("it is not kept: %q", store.keys(""))
	}
}

// That nobody can look isn't damage: nothing is repaired that may be fine.
func TestAwayIsNotDamaged(t *testing.T) {
	store := newFakeStore()
	s, _ := history(t, Options{Store: store}, 1, 2)
	down := errors.New("down")
	store.fail = func(op, key string) error {
		if op == "get" && key == stateKey(2) {
			return down
		}
		return nil
	}
	_, err := s.Repair(t.Context(), uid, alice)
	if !errors.Is(err, down) || errors.Is(err, ErrDamaged) {
		t.Errorf("got %v, want the store's error", err)
	}
	if kept := store.keys(asideOf(uid)); len(kept) > 0 {
		t.Errorf("kept aside are %q, want nothing", kept)
	}
}
