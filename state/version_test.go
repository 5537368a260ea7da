package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"
)

func content(lineage string, serial int, body string) []byte {
	return fmt.Appendf(nil, `{"version":4,"serial":%d,"lineage":%q,"outputs":{"x":%q}}`, serial, lineage, body)
}

func TestWhichStateMayComeAfterWhich(t *testing.T) {
	for _, test := range []struct {
		name         string
		stored, next []byte
		want         error
	}{
		{"the first", nil, content("l", 7, "a"), nil},
		{"the first without anything", nil, []byte(`{}`), nil},
		{"a higher serial", content("l", 7, "a"), content("l", 8, "b"), nil},
		{"a much higher serial", content("l", 7, "a"), content("l", 80, "b"), nil},
		{"the same again", content("l", 7, "a"), content("l", 7, "a"), nil},
		{"the same with other white space", []byte(`{"serial": 7}`), []byte("{ \"serial\":7\n}"), nil},
		{"the same serial, other content", content("l", 7, "a"), content("l", 7, "b"), ErrConflict},
		{"a lower serial", content("l", 7, "a"), content("l", 6, "a"), ErrOutdated},
		{"another lineage", content("l", 7, "a"), content("m", 8, "a"), ErrConflict},
		{"another lineage and a lower serial", content("l", 7, "a"), content("m", 1, "a"), ErrConflict},
		{"no lineage", content("l", 7, "a"), []byte(`{"serial":8}`), ErrConflict},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newService(newFakeStore(), &pods{})
			must(t, s.Lock(t.Context(), uid, holder("a"), info("1")))
			if test.stored != nil {
				must(t, wrote(s.Write(t.Context(), uid, claim("a", "1"), test.stored)))
			}
			_, err := s.Write(t.Context(), uid, claim("a", "1"), test.next)
			if !errors.Is(err, test.want) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			if err != nil && (!strings.Contains(err.Error(), "serial 7") || !strings.Contains(err.Error(), `"l"`)) {
				t.Errorf("the refusal doesn't say what is stored: %v", err)
			}
		})
	}
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// history writes states with these serials, an hour apart, each in a run of its own, and prunes.
func history(t *testing.T, o Options, serials ...int) (*Service, *clocktesting.FakePassiveClock) {
	t.Helper()
	clk := clocktesting.NewFakePassiveClock(time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC))
	o.Pods, o.Clock, o.Log = &pods{}, clk, slog.New(slog.DiscardHandler)
	s := New(o)
	for _, serial := range serials {
		clk.SetTime(clk.Now().Add(time.Hour))
		run, id := fmt.Sprint("run-", serial), fmt.Sprint(serial)
		must(t, s.Lock(t.Context(), uid, holder(run), info(id)),
			wrote(s.Write(t.Context(), uid, claim(run, id), content("l", serial, run))),
			s.Unlock(t.Context(), uid, holder(run), info(id)))
		for len(s.prunes) > 0 {
			s.prune(t.Context(), <-s.prunes)
		}
	}
	return s, clk
}

func summary(versions []Version) []string {
	var lines []string
	for _, v := range versions {
		lines = append(lines, fmt.Sprintf("%d %s serial %d %s%s of %d", v.Number, v.At.Format("15:04"), v.Serial, v.Run,
			v.Person, v.RollbackOf))
	}
	return lines
}

func TestVersions(t *testing.T) {
	store := newFakeStore()
	s, _ := history(t, Options{Store: store}, 1, 5, 9)
	store.ops = nil
	versions, err := s.Versions(t.Context(), uid)
	want := []string{
		"3 03:00 serial 9 run-9 of 0", "2 02:00 serial 5 run-5 of 0", "1 01:00 serial 1 run-1 of 0",
	}
	if diff := cmp.Diff(want, summary(versions)); diff != "" || err != nil {
		t.Errorf("versions (-want +got, %v):\n%s", err, diff)
	}
	if ops := strings.Join(store.ops, "\n"); strings.Contains(ops, "get state/u/000000000001") {
		t.Errorf("listing has read an old state:\n%s", ops)
	}
	v, data, err := s.Version(t.Context(), uid, 2)
	if err != nil || string(data) != string(content("l", 5, "run-5")) {
		t.Errorf("version 2: got %s, %v", data, err)
	}
	if diff := cmp.Diff(versions[1], v); diff != "" || v.Digest != digest(data) || v.Size != len(data) {
		t.Errorf("version 2 describes itself otherwise than the list does:\n%s", diff)
	}
	for n, want := range map[uint64]error{0: ErrInvalid, 4: ErrNotFound} {
		_, _, err := s.Version(t.Context(), uid, n)
		wantErr(t, fmt.Sprint("version ", n), err, want)
	}
}

// wantErr compares a LockedError by its kind alone.
func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !matches(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestVersionsFromBeforeTheyWereDescribed(t *testing.T) {
	store := newFakeStore()
	for n, serial := range map[int]int{1: 3, 2: 4} {
		store.values[fmt.Sprintf("state/u/%012d", n)] = string(content("l", serial, "old"))
	}
	s, _ := history(t, Options{Store: store}, 5)
	versions, err := s.Versions(t.Context(), uid)
	want := []string{"3 01:00 serial 5 run-5 of 0", "2 00:00 serial 4  of 0", "1 00:00 serial 3  of 0"}
	if diff := cmp.Diff(want, summary(versions)); diff != "" || err != nil {
		t.Errorf("versions (-want +got, %v):\n%s", err, diff)
	}
}

func TestRetention(t *testing.T) {
	serials := make([]int, 40)
	for i := range serials {
		serials[i] = i + 1
	}
	for _, test := range []struct {
		name    string
		options Options
		idle    time.Duration // then everything is looked at
		kept    int
	}{
		{"by count", Options{KeepVersions: 6}, 0, 6},
		{"by age", Options{KeepAge: 5 * time.Hour}, 0, 6},
		{"by count before age", Options{KeepVersions: 3, KeepAge: 9 * time.Hour}, 0, 3},
		{"the last two stay", Options{KeepAge: time.Minute}, 0, 2},
		{"in a workspace at rest", Options{KeepAge: 8 * time.Hour}, 4 * time.Hour, 5},
		{"for long at rest", Options{KeepAge: 8 * time.Hour}, 1000 * time.Hour, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.options.Store = newFakeStore()
			s, clk := history(t, test.options, serials...)
			clk.SetTime(clk.Now().Add(test.idle))
			must(t, s.tidy(t.Context()))
			versions, err := s.Versions(t.Context(), uid)
			if err != nil || len(versions) != test.kept || versions[0].Serial != 40 {
				t.Errorf("kept %q, %v; want %d with the newest", summary(versions), err, test.kept)
			}
		})
	}
}

func TestRollback(t *testing.T) {
	alice := Actor{Name: "alice", Why: "the last apply was wrong"}
	s, _ := history(t, Options{Store: newFakeStore()}, 1, 5, 9)
	v, err := s.Rollback(t.Context(), uid, 2, alice)
	if err != nil || v.Number != 4 || v.Serial != 10 || v.Person != "alice" || v.Why != alice.Why || v.RollbackOf != 2 {
		t.Fatalf("got %+v, %v", v, err)
	}
	now, data, err := s.Newest(t.Context(), uid)
	if diff := cmp.Diff(v, now); diff != "" || err != nil {
		t.Errorf("the newest version is another (%v):\n%s", err, diff)
	}
	var got, want map[string]any
	must(t, json.Unmarshal(data, &got), json.Unmarshal(content("l", 10, "run-5"), &want))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("state after rollback (-want +got):\n%s", diff)
	}
	// Terraform goes on from there, and a Run that planned before can't write over it.
	must(t, s.Lock(t.Context(), uid, holder("next"), info("n")))
	if _, err := s.Write(t.Context(), uid, claim("next", "n"), content("l", 10, "late")); !errors.Is(err, ErrConflict) {
		t.Errorf("a write on top of the old serial: got %v, want ErrConflict", err)
	}
	must(t, wrote(s.Write(t.Context(), uid, claim("next", "n"), content("l", 11, "next"))))
}

func TestRollbackRefuses(t *testing.T) {
	alice := Actor{Name: "alice"}
	s, clk := history(t, Options{Store: newFakeStore()}, 1, 2)
	must(t, s.Lock(t.Context(), uid, holder("a"), info("1")))
	if _, err := s.Rollback(t.Context(), uid, 1, alice); !matches(err, errLocked) {
		t.Errorf("under a run's lock: got %v, want LockedError", err)
	}
	_, err := s.Remove(t.Context(), uid, holder("a"))
	must(t, err, s.Unlock(t.Context(), uid, holder("a"), nil))
	for n, want := range map[uint64]error{3: ErrInvalid, 4: ErrNotFound, 0: ErrInvalid} {
		if _, err := s.Rollback(t.Context(), uid, n, alice); !errors.Is(err, want) {
			t.Errorf("to version %d: got %v, want %v", n, err, want)
		}
	}
	if _, err := s.Rollback(t.Context(), uid, 1, Actor{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("by nobody: got %v, want ErrInvalid", err)
	}
	if v, err := s.Rollback(t.Context(), uid, 1, alice); err != nil || v.Serial != 3 {
		t.Errorf("after a removal: got %+v, %v; want serial 3", v, err)
	}
	// The lock of a rollback that died passes over in time, and not before.
	free := personally{operation: "rollback", allowed: func(lockRecord) error { return nil }}
	if _, err := s.lockPersonally(t.Context(), uid, alice, free); err != nil {
		t.Fatal(err)
	}
	if err := s.Lock(t.Context(), uid, holder("b"), info("2")); !matches(err, errLocked) {
		t.Errorf("while a rollback goes on: got %v, want LockedError", err)
	}
	clk.SetTime(clk.Now().Add(personalLock + time.Second))
	must(t, s.Lock(t.Context(), uid, holder("b"), info("2")))
}

func TestLockStatusAndForce(t *testing.T) {
	p := &pods{gone: map[string]bool{}}
	s := newService(newFakeStore(), p)
	by := Actor{Name: "bob", Why: "the node burnt down"}
	must(t, s.Lock(t.Context(), uid, holder("a"), info("1")))
	st, err := s.LockStatus(t.Context(), uid)
	a := holder("a")
	want := LockStatus{
		Held: true, Holder: &a, Since: s.Clock.Now(), ID: "1", Operation: "OperationTypeApply", Info: info("1"),
	}
	if diff := cmp.Diff(want, st); diff != "" || err != nil {
		t.Errorf("status (-want +got, %v):\n%s", err, diff)
	}
	_, err = s.Release(t.Context(), uid, by)
	wantErr(t, "releasing while the pod may live", err, errLocked)
	_, err = s.ForceUnlock(t.Context(), uid, "other", by)
	wantErr(t, "forcing another lock", err, ErrConflict)
	_, err = s.ForceUnlock(t.Context(), uid, "1", Actor{})
	wantErr(t, "forcing by nobody", err, ErrInvalid)
	if from, err := s.ForceUnlock(t.Context(), uid, "1", by); err != nil || *from != holder("a") {
		t.Errorf("forcing: got %v, %v; want that it was a's", from, err)
	}
	if st, err = s.LockStatus(t.Context(), uid); err != nil || st.Held || st.Forced != "bob" || st.Why != by.Why {
		t.Errorf("afterwards: got %+v, %v; want it free, and by whom", st, err)
	}
	wantErr(t, "the former holder writes", wrote(s.Write(t.Context(), uid, claim("a", "1"), tfstate(1))), ErrNotHolder)
	must(t, s.Lock(t.Context(), uid, holder("b"), info("2")))
	p.gone["b"] = true
	if from, err := s.Release(t.Context(), uid, by); err != nil || *from != holder("b") {
		t.Errorf("releasing a dead holder's: got %v, %v; want that it was b's", from, err)
	}
}

func TestDamagedVersionsAreErrors(t *testing.T) {
	whole, err := encodeVersion(versionHead{Version: Version{Number: 1, Serial: 1}}, content("l", 1, "x"))
	must(t, err)
	head := len(whole) - len(content("l", 1, "x"))
	for i := 1; i < head; i++ {
		store := newFakeStore()
		store.values["state/u/000000000001"] = string(whole[:i])
		if got, err := newService(store, &pods{}).State(t.Context(), uid); err == nil || errors.Is(err, ErrNotFound) {
			t.Fatalf("cut at %d: got %q, %v; want an error that isn't ErrNotFound", i, got, err)
		}
	}
}

// Rewriting goes on under a server that reads and writes, and loses nothing of what is newest.
func TestRewrite(t *testing.T) {
	store := newFakeStore()
	s, _ := history(t, Options{Store: store}, 1, 2, 3)
	must(t, s.PutOutputs(t.Context(), uid, []byte(`{"a":1}`)), s.Lock(t.Context(), uid, holder("a"), info("1")))
	old := map[string]bool{}
	for key := range store.values {
		old[key] = true
	}
	fine := func(_ context.Context, key string) (bool, error) { return !old[key], nil }
	other := newService(store, &pods{})
	first, err := other.Rewrite(t.Context(), fine)
	must(t, err)
	if again, err := other.Rewrite(t.Context(), fine); first != 3 || again != 0 || err != nil {
		t.Fatalf("rewrote %d and then %d, %v; want 3 and none", first, again, err)
	}
	maps.DeleteFunc(old, func(key string, _ bool) bool { _, there := store.values[key]; return !there })
	if len(old) > 0 {
		t.Errorf("still there: %v", old)
	}
	v, data, err := s.Newest(t.Context(), uid)
	if err != nil || v.Serial != 3 || string(data) != string(content("l", 3, "run-3")) {
		t.Errorf("state: got %+v, %s, %v", v, data, err)
	}
	if data, err := s.Outputs(t.Context(), uid); err != nil || string(data) != `{"a":1}` {
		t.Errorf("outputs: got %s, %v", data, err)
	}
	must(t, wrote(s.Write(t.Context(), uid, claim("a", "1"), content("l", 4, "x"))))
	wantErr(t, "locking what is held", s.Lock(t.Context(), uid, holder("b"), info("2")), errLocked)
}

// The former holder's write is allowed, and then held up on its way to the store until another Run has the lock.
func TestAWriteThatIsHeldUpChangesNothing(t *testing.T) {
	for _, test := range []struct {
		name string
		take func(t *testing.T, p *pods, other *Service) error
	}{
		{"its pod is gone", func(t *testing.T, p *pods, other *Service) error {
			p.gone["a"] = true
			return other.Lock(t.Context(), uid, holder("b"), info("2"))
		}},
		{"somebody forced the lock", func(t *testing.T, _ *pods, other *Service) error {
			_, err := other.ForceUnlock(t.Context(), uid, "1", Actor{Name: "bob"})
			return errors.Join(err, other.Lock(t.Context(), uid, holder("b"), info("2")))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			store, p := newFakeStore(), &pods{gone: map[string]bool{}}
			s, other := newService(store, p), newService(store, p)
			must(t, s.Lock(t.Context(), uid, holder("a"), info("1")),
				wrote(s.Write(t.Context(), uid, claim("a", "1"), content("l", 1, "before"))))
			store.fail = func(op, key string) error {
				if op+" "+key == "create state/u/000000000002" {
					store.fail = nil
					must(t, test.take(t, p, other))
				}
				return nil
			}
			if _, err := s.Write(t.Context(), uid, claim("a", "1"), content("l", 2, "late")); !errors.Is(err, ErrNotHolder) {
				t.Errorf("got %v, want ErrNotHolder", err)
			}
			v, data, err := other.Newest(t.Context(), uid)
			if err != nil || string(data) != string(content("l", 1, "before")) || v.Number != 1 {
				t.Errorf("the state is %s (%+v, %v), want the one from before", data, v, err)
			}
			must(t, wrote(other.Write(t.Context(), uid, claim("b", "2"), content("l", 2, "b"))))
		})
	}
}
