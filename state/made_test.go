package state

import (
	"slices"
	"testing"
)

// TestWhatWasMadeIsKept: by Run, until it is taken out. A Workspace that has some isn't purged; a purge leaves nothing.
func TestWhatWasMadeIsKept(t *testing.T) {
	store := newFakeStore()
	s := newService(store, &pods{})
	play(t, s, lock("a", "1", nil), unlock("a", "1", nil))
	made := func(run, list string) {
		t.Helper()
		must(t, s.PutMade(t.Context(), uid, run, []byte(list)))
	}
	want := func(runs map[string]string) {
		t.Helper()
		got, err := s.Made(t.Context(), uid)
		must(t, err)
		if len(got) != len(runs) {
			t.Errorf("got %q, want %q", got, runs)
		}
		for run, list := range runs {
			if string(got[run]) != list {
				t.Errorf("of run %s: %q, want %q", run, got[run], list)
			}
		}
	}
	made("a", "[]")
	if keys := store.keys("made/"); len(keys) > 0 {
		t.Errorf("nothing was made, and there is %q", keys)
	}
	wantErr(t, "noting what is no list", s.PutMade(t.Context(), uid, "a", []byte(`{"a":1}`)), ErrInvalid)
	made("a", `[1]`)
	made("b", `[2]`)
	made("a", `[1,3]`)
	want(map[string]string{"a": `[1,3]`, "b": `[2]`})
	play(t, s, purge(ErrInUse))
	wantErr(t, "asking for it", s.NothingMade(t.Context(), uid), ErrMade)
	made("a", "[]")
	made("a", "[]")
	want(map[string]string{"b": `[2]`})
	play(t, s, purge(ErrInUse))
	made("b", " [ ] ")
	want(nil)
	play(t, s, purge(nil))
	if keys := store.keys("made/"); len(keys) > 0 {
		t.Errorf("left: %q", keys)
	}
}

// TestADamagedRecordOfWhatWasMade says that something was, also when it can't be read; a repair goes on behind it.
func TestADamagedRecordOfWhatWasMade(t *testing.T) {
	store := newFakeStore()
	s, _ := history(t, Options{Store: store}, 1)
	must(t, s.PutMade(t.Context(), uid, "a", []byte("[1]")))
	key := "made/u/000000000001"
	breaking(store, key)
	err := s.NothingMade(t.Context(), uid)
	wantDamaged(t, "asking for it", err)
	wantErr(t, "asking for it", err, ErrMade)
	wantErr(t, "purging", s.Purge(t.Context(), removal(uid)), ErrInUse)
	wantErr(t, "noting more", s.PutMade(t.Context(), uid, "a", []byte("[]")), ErrMade)
	done, err := s.Repair(t.Context(), uid, alice)
	if err != nil || !slices.Equal(done.Damaged, []string{key}) || done.Version != nil {
		t.Errorf("repaired %+v, %v; want %s", done, err, key)
	}
	must(t, s.NothingMade(t.Context(), uid))
	if _, kept := store.values[key]; !kept || len(store.keys(asideOf(uid))) != 1 {
		t.Errorf("it is not kept: %q", store.keys(""))
	}
}
