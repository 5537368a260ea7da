package state

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// takeOvers has n Runs lose the lock one after the other without writing anything.
func takeOvers(t *testing.T, s *Service, p *pods, n int) {
	t.Helper()
	p.gone = map[string]bool{}
	for i := range n {
		run := fmt.Sprint("lost-", i)
		must(t, s.Lock(t.Context(), uid, holder(run), info(run)))
		p.gone[run] = true
		for len(s.prunes) > 0 {
			s.prune(t.Context(), <-s.prunes)
		}
	}
	must(t, s.Lock(t.Context(), uid, holder("next"), info("next")))
}

// After 24 lost Pods there are as many versions to go back to as before, and the fences are small.
func TestTakeOversAreNoVersions(t *testing.T) {
	p, store := &pods{}, newFakeStore()
	s, _ := history(t, Options{Store: store, KeepVersions: 3}, 1, 2, 3, 4)
	s.Pods = p
	takeOvers(t, s, p, 24)
	v, data, err := s.Newest(t.Context(), uid)
	if err != nil || v.Number != 4 || string(data) != string(content("l", 4, "run-4")) {
		t.Errorf("the newest is %+v, %s, %v; want version 4", v, data, err)
	}
	versions, err := s.Versions(t.Context(), uid)
	want := []string{"4 04:00 serial 4 run-4 of 0", "3 03:00 serial 3 run-3 of 0", "2 02:00 serial 2 run-2 of 0"}
	if diff := cmp.Diff(want, summary(versions)); diff != "" || err != nil {
		t.Errorf("versions (-want +got, %v):\n%s", err, diff)
	}
	for _, key := range store.keys("state/")[5:] {
		if fence := store.values[key]; strings.Contains(fence, "outputs") || len(fence) > 2000 {
			t.Errorf("a fence of %d bytes: %s", len(fence), fence)
		}
	}
	must(t, wrote(s.Write(t.Context(), uid, claim("next", "next"), content("l", 5, "next"))))
	versions, err = s.Versions(t.Context(), uid)
	want = append([]string{"29 04:00 serial 5 next of 0"}, want...)
	if diff := cmp.Diff(want, summary(versions)); diff != "" || err != nil {
		t.Errorf("versions after a write (-want +got, %v):\n%s", err, diff)
	}
}

// What a fence stands for is never pruned, however few versions are kept and however old they are.
func TestWhatAFenceStandsForStays(t *testing.T) {
	p := &pods{}
	s, clk := history(t, Options{Store: newFakeStore(), KeepVersions: 2, KeepAge: 1}, 1, 2, 3)
	s.Pods = p
	takeOvers(t, s, p, 12)
	clk.SetTime(clk.Now().AddDate(1, 0, 0))
	must(t, s.tidy(t.Context()))
	if data, err := s.State(t.Context(), uid); err != nil || string(data) != string(content("l", 3, "run-3")) {
		t.Errorf("the state is %s, %v", data, err)
	}
}

// A fence before the first state, and one behind a removal, stand for no state.
func TestFencesOfNothing(t *testing.T) {
	p := &pods{}
	s := newService(newFakeStore(), p)
	takeOvers(t, s, p, 2)
	_, err := s.State(t.Context(), uid)
	wantErr(t, "before the first", err, ErrNotFound)
	must(t, wrote(s.Write(t.Context(), uid, claim("next", "next"), content("l", 1, "a"))))
	must(t, wrote(s.Remove(t.Context(), uid, holder("next"))))
	must(t, s.Unlock(t.Context(), uid, holder("next"), info("next")))
	takeOvers(t, s, p, 2)
	_, err = s.State(t.Context(), uid)
	wantErr(t, "after a removal", err, ErrNotFound)
	must(t, wrote(s.Write(t.Context(), uid, claim("next", "next"), content("m", 1, "a"))))
}

// The release before fences were small reads a record by its head's length, and its own words for what doesn't fit are
// "try again": a fence must never look to it like a state, least of all like an empty one.
func TestTheFormerReleaseDoesNotTakeAFenceForAState(t *testing.T) {
	fence, err := encodeFence(versionHead{Version: Version{Number: 7, Serial: 3, Size: 10}})
	must(t, err)
	// As it is in that release.
	decode := func(data string) error {
		rest, ok := strings.CutPrefix(data[:min(len(data), len(versionMagic)+lengthBytes)], versionMagic)
		if !ok {
			return errors.New("it takes it for a state without a head")
		}
		var n uint64
		for _, b := range []byte(rest) {
			n = n<<8 | uint64(b)
		}
		if len(rest) == lengthBytes && n <= uint64(len(data)-len(versionMagic)-lengthBytes) {
			return errors.New("it takes it for a version")
		}
		return nil
	}
	must(t, decode(string(fence)))
}

// Fences of the former release are whole copies: they are read, and count as the content that they repeat.
func TestCopiesFromBeforeCountOnce(t *testing.T) {
	store := newFakeStore()
	s, _ := history(t, Options{Store: store, KeepVersions: 3}, 1, 2)
	last := record{n: 2, data: []byte(store.values[stateKey(2)])}
	for n := 3; n <= 10; n++ {
		head, data, err := decodeVersion(last)
		must(t, err)
		record, err := encodeVersion(head.followedBy(head.copied(), 20), data)
		must(t, err)
		store.values[stateKey(n)] = string(record)
		last.n, last.data = uint64(n), record
	}
	clear(s.hints.m)
	must(t, s.Lock(t.Context(), uid, holder("a"), info("1")))
	must(t, wrote(s.Write(t.Context(), uid, claim("a", "1"), content("l", 3, "a"))),
		wrote(s.Write(t.Context(), uid, claim("a", "1"), content("l", 4, "a"))))
	must(t, s.tidy(t.Context()))
	versions, err := s.Versions(t.Context(), uid)
	var serials []uint64
	for _, v := range versions {
		serials = append(serials, v.Serial)
	}
	if diff := cmp.Diff([]uint64{4, 3, 2}, serials); diff != "" || err != nil {
		t.Errorf("serials (-want +got, %v):\n%s", err, diff)
	}
	must(t, s.Unlock(t.Context(), uid, holder("a"), info("1")))
	v, err := s.Rollback(t.Context(), uid, 10, alice)
	if err != nil || v.CopyOf != 0 || v.RollbackOf != 10 || v.Serial != 5 {
		t.Errorf("a rollback to a copy is %+v, %v; want it listed as a rollback", v, err)
	}
}

// A person's lock whose fence can't be put up is given back at once.
func TestALockThatCannotBeFencedIsGivenBack(t *testing.T) {
	p, store := &pods{gone: map[string]bool{"a": true}}, newFakeStore()
	s := newService(store, p)
	must(t, s.Lock(t.Context(), uid, holder("a"), info("1")),
		wrote(s.Write(t.Context(), uid, claim("a", "1"), content("l", 1, "a"))))
	down := errors.New("down")
	store.fail = func(op, key string) error {
		if op+" "+key == "create "+stateKey(2) {
			return down
		}
		return nil
	}
	_, err := s.Push(t.Context(), uid, Pushed{By: alice, Data: content("l", 2, "b")})
	wantErr(t, "pushing", err, down)
	if st, err := s.LockStatus(t.Context(), uid); err != nil || st.Held {
		t.Errorf("the lock is %+v, %v; want it free", st, err)
	}
}

// Listings that lag behind are asked again, and not for ever.
func TestAListingThatLagsBehindEnds(t *testing.T) {
	store := newFakeStore()
	mustAppend(t, journalOf(store), 3)
	if _, err := journalOf(store).prune(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	store.fail = func(op, key string) error {
		if op == "get" && strings.HasSuffix(key, "3") {
			return ErrNotFound
		}
		return nil
	}
	if _, err := journalOf(store).newest(t.Context()); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
}
