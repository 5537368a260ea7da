package state

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
)

// pods says which Pods are gone.
type pods struct {
	gone map[string]bool
	err  error
}

func (p *pods) Gone(_ context.Context, h Holder) (bool, error) { return p.gone[h.Pod], p.err }

const uid = "u"

func newService(store Store, p Pods) *Service {
	clk := clocktesting.NewFakePassiveClock(time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC))
	return New(Options{Store: store, Pods: p, Clock: clk, Log: slog.New(slog.DiscardHandler)})
}

func holder(run string) Holder {
	return Holder{Namespace: "ns", Run: run, Pod: run, PodUID: "uid-of-" + run}
}

func info(id string) []byte {
	return fmt.Appendf(nil, `{"ID":%q,"Operation":"OperationTypeApply"}`, id)
}

func claim(run, id string) Claim { return Claim{Holder: holder(run), LockID: id} }

func removal(uid string) Removal {
	return Removal{Owner: Owner{UID: uid, Namespace: "ns", Name: "ws"}}
}

func tfstate(serial int) []byte {
	return fmt.Appendf(nil, `{"lineage":"l","serial":%d,"resources":[]}`, serial)
}

// step is one call and what is to come of it.
type step struct {
	what string
	do   func(*Service) error
	want error
}

func lock(run, id string, want error) step {
	return step{"lock by " + run + " " + id, func(s *Service) error {
		return s.Lock(context.Background(), uid, holder(run), info(id))
	}, want}
}

func unlock(run, id string, want error) step {
	var body []byte
	if id != "" {
		body = info(id)
	}
	return step{"unlock by " + run + " " + id, func(s *Service) error {
		return s.Unlock(context.Background(), uid, holder(run), body)
	}, want}
}

func write(run, id string, serial int, want error) step {
	return step{fmt.Sprintf("write %d by %s %s", serial, run, id), func(s *Service) error {
		_, err := s.Write(context.Background(), uid, claim(run, id), tfstate(serial))
		return err
	}, want}
}

func remove(run string, want error) step {
	return step{"remove by " + run, func(s *Service) error {
		_, err := s.Remove(context.Background(), uid, holder(run))
		return err
	}, want}
}

func purge(want error) step {
	return step{"purge", func(s *Service) error { return s.Purge(context.Background(), removal(uid)) }, want}
}

func reads(want string) step {
	return step{"read", func(s *Service) error {
		got, err := s.State(context.Background(), uid)
		if errors.Is(err, ErrNotFound) && want == "" {
			return nil
		}
		if err == nil && string(got) != want {
			err = fmt.Errorf("got state %q, want %q", got, want)
		}
		return err
	}, nil}
}

var errLocked = &LockedError{}

// matches compares a LockedError by its kind alone.
func matches(got, want error) bool {
	if _, ok := errors.AsType[*LockedError](want); ok {
		_, ok := errors.AsType[*LockedError](got)
		return ok && !errors.Is(got, ErrNotHolder)
	}
	return errors.Is(got, want)
}

func wrote(_ Version, err error) error { return err }

func TestLocksAndStates(t *testing.T) {
	badLock := func(body string) step {
		return step{"lock with " + body, func(s *Service) error {
			return s.Lock(context.Background(), uid, holder("a"), []byte(body))
		}, ErrInvalid}
	}
	for _, test := range []struct {
		name  string
		gone  []string
		steps []step
	}{
		{"one run after another", nil, []step{
			lock("a", "1", nil), write("a", "1", 1, nil), unlock("a", "1", nil),
			lock("b", "2", nil), write("b", "2", 2, nil), unlock("b", "2", nil), reads(string(tfstate(2))),
		}},
		{"a held lock is refused", nil, []step{
			lock("a", "1", nil), lock("b", "2", errLocked), lock("a", "2", errLocked), write("b", "2", 1, ErrNotHolder),
			reads(""),
		}},
		{"answers may be lost", nil, []step{
			lock("a", "1", nil), lock("a", "1", nil), write("a", "1", 1, nil), write("a", "1", 1, nil),
			unlock("a", "1", nil), unlock("a", "1", nil), lock("b", "2", nil),
		}},
		{"only the holder unlocks", nil, []step{
			lock("a", "1", nil), unlock("b", "1", ErrNotHolder), unlock("b", "", ErrNotHolder),
			unlock("a", "other", ErrNotHolder), lock("c", "3", errLocked), unlock("a", "1", nil), lock("c", "3", nil),
		}},
		{"force-unlock sends no ID", nil, []step{lock("a", "1", nil), unlock("a", "", nil), lock("b", "2", nil)}},
		{"writes without the lock", nil, []step{
			write("a", "", 1, ErrNotHolder), write("a", "1", 1, ErrNotHolder), lock("a", "1", nil),
			write("a", "", 1, ErrNotHolder), write("a", "2", 1, ErrNotHolder), reads(""),
		}},
		{"the lock of a pod that is gone passes over", []string{"a"}, []step{
			lock("a", "1", nil), write("a", "1", 1, nil), lock("b", "2", nil), write("a", "1", 2, ErrNotHolder),
			unlock("a", "1", ErrNotHolder), write("b", "2", 2, nil),
		}},
		{"a late request doesn't undo", nil, []step{
			lock("a", "1", nil), write("a", "1", 1, nil), write("a", "1", 2, nil), write("a", "1", 1, ErrOutdated),
			reads(string(tfstate(2))),
		}},
		{"a removed state is none", nil, []step{
			lock("a", "1", nil), write("a", "1", 1, nil), remove("b", ErrNotHolder), remove("a", nil), remove("a", nil),
			reads(""), write("a", "1", 1, nil), reads(string(tfstate(1))),
		}},
		{"lock info that is none", nil, []step{badLock(""), badLock("x"), badLock("{}"), badLock(`{"ID":1}`)}},
		{"purge", nil, []step{
			purge(ErrNotFound), lock("a", "1", nil), purge(ErrInUse), write("a", "1", 1, nil), unlock("a", "1", nil),
			purge(nil), reads(""), purge(ErrNotFound), lock("a", "1", nil),
		}},
		{"purge after a pod that died", []string{"a"}, []step{lock("a", "1", nil), purge(nil)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			gone := map[string]bool{}
			for _, pod := range test.gone {
				gone[pod] = true
			}
			// Two servers over one store, in turns: nothing may depend on what one of them remembers.
			store := newFakeStore()
			servers := []*Service{newService(store, &pods{gone: gone}), newService(store, &pods{gone: gone})}
			for i, st := range test.steps {
				if err := st.do(servers[i%2]); !matches(err, st.want) {
					t.Fatalf("step %d, %s: got %v, want %v", i, st.what, err, st.want)
				}
			}
		})
	}
}

func TestLockedErrorTellsTheHolder(t *testing.T) {
	s := newService(newFakeStore(), &pods{})
	if err := s.Lock(t.Context(), uid, holder("a"), info("1")); err != nil {
		t.Fatal(err)
	}
	err := s.Lock(t.Context(), uid, holder("b"), info("2"))
	locked, ok := errors.AsType[*LockedError](err)
	if !ok || locked.Holder != holder("a") || string(locked.Info) != string(info("1")) {
		t.Errorf("got %#v, want a's lock", err)
	}
}

func TestUnknownHolderIsNotGone(t *testing.T) {
	down := errors.New("the API server is down")
	s := newService(newFakeStore(), &pods{err: down})
	if err := s.Lock(t.Context(), uid, holder("a"), info("1")); err != nil {
		t.Fatal(err)
	}
	if err := s.Lock(t.Context(), uid, holder("b"), info("2")); !errors.Is(err, down) {
		t.Errorf("locking: got %v, want the error of the look", err)
	}
	if err := s.Purge(t.Context(), removal(uid)); !errors.Is(err, down) {
		t.Errorf("purging: got %v, want the error of the look", err)
	}
	if _, err := s.Write(t.Context(), uid, claim("a", "1"), tfstate(1)); err != nil {
		t.Errorf("the holder can't write any more: %v", err)
	}
}

func TestWriteRefusesWhatIsNoJSON(t *testing.T) {
	s := newService(newFakeStore(), &pods{})
	if err := s.Lock(t.Context(), uid, holder("a"), info("1")); err != nil {
		t.Fatal(err)
	}
	for _, data := range []string{"", "<html>", `{"serial":`, "[]", `"x"`, `{"serial":-1}`} {
		if _, err := s.Write(t.Context(), uid, claim("a", "1"), []byte(data)); !errors.Is(err, ErrInvalid) {
			t.Errorf("writing %q: got %v, want ErrInvalid", data, err)
		}
	}
}

func TestPurgeRefuses(t *testing.T) {
	for _, test := range []struct {
		name, uid, state string
		want             error
	}{
		{"no UID", "", `{}`, ErrInvalid},
		{"another folder", "u/../v", `{}`, ErrInvalid},
		{"resources", uid, `{"resources":[{"mode":"managed","instances":[{}]}]}`, ErrInUse},
		{"a state of another form", uid, `{"resources":"many"}`, ErrInUse},
		{"an encrypted state", uid,
			`{"serial":1,"lineage":"l","meta":{},"encrypted_data":"x","encryption_version":"v0"}`, ErrInUse},
		{"a state of another format", uid, `{"serial":1,"lineage":"l"}`, ErrInUse},
		{"data sources only", uid, `{"resources":[{"mode":"data","instances":[{}]}]}`, nil},
		{"a resource without instances", uid, `{"resources":[{"mode":"managed","instances":[]}]}`, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newService(newFakeStore(), &pods{})
			for _, err := range []error{
				s.Lock(t.Context(), uid, holder("a"), info("1")),
				wrote(s.Write(t.Context(), uid, claim("a", "1"), []byte(test.state))),
				s.Unlock(t.Context(), uid, holder("a"), info("1")),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Purge(t.Context(), removal(test.uid)); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

func TestOutputs(t *testing.T) {
	s := newService(newFakeStore(), &pods{})
	if _, err := s.Outputs(t.Context(), uid); !errors.Is(err, ErrNotFound) {
		t.Errorf("before the first: got %v, want ErrNotFound", err)
	}
	for _, want := range []string{`{"a":1}`, `{"a":1}`, `{"a":2}`, `{"a":1}`} {
		if err := s.PutOutputs(t.Context(), uid, []byte(want)); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Outputs(t.Context(), uid); err != nil || string(got) != want {
			t.Errorf("got %s, %v; want %s", got, err, want)
		}
	}
}

func TestOldRecordsGo(t *testing.T) {
	store := newFakeStore()
	s := newService(store, &pods{})
	for i := range 40 {
		id := fmt.Sprint(i)
		for _, err := range []error{
			s.Lock(t.Context(), uid, holder("a"), info(id)),
			wrote(s.Write(t.Context(), uid, claim("a", id), tfstate(i))),
			s.PutOutputs(t.Context(), uid, []byte(id)),
			s.Unlock(t.Context(), uid, holder("a"), info(id)),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		for len(s.prunes) > 0 {
			s.prune(t.Context(), <-s.prunes)
		}
	}
	// The mark counts too.
	for dir, most := range map[string]int{"lock/": 12, "state/": DefaultKeepVersions + 4, "outputs/": 6} {
		if got := store.keys(dir); len(got) > most {
			t.Errorf("%d records of %s are left, want at most %d", len(got), dir, most)
		}
	}
	if got := store.keys("state/"); len(got) < DefaultKeepVersions+1 || !strings.HasSuffix(got[len(got)-1], "40") {
		t.Errorf("left are states %q, want at least the newest", got)
	}
}

// The figures are what Terraform waits for in each run; a listing among them would cost more than all the others.
func TestRequestsOfARun(t *testing.T) {
	store := newFakeStore()
	one, two := newService(store, &pods{}), newService(store, &pods{})
	runs := 0
	run := func(s *Service) {
		runs++
		id := fmt.Sprint(runs)
		_ = s.Lock(t.Context(), uid, holder("a"), info(id))
		_, _ = s.State(t.Context(), uid)
		_, _ = s.Write(t.Context(), uid, claim("a", id), tfstate(runs))
		_ = s.Unlock(t.Context(), uid, holder("a"), info(id))
	}
	for _, test := range []struct {
		name  string
		by    *Service
		most  int
		lists int
	}{
		{"first", one, 16, 0},
		{"second", one, 12, 0},
		{"another server's first", two, 24, 2},
		{"again the first server's", one, 21, 0},
		{"the first server's next", one, 12, 0},
		{"the other server's, two behind", two, 27, 0},
	} {
		store.ops = nil
		run(test.by)
		lists := 0
		for _, op := range store.ops {
			if strings.HasPrefix(op, "list") {
				lists++
			}
		}
		if len(store.ops) > test.most || lists > test.lists {
			t.Errorf("the %s run took %d requests, %d of them listings; want at most %d and %d:\n%s",
				test.name, len(store.ops), lists, test.most, test.lists, strings.Join(store.ops, "\n"))
		}
	}
}
