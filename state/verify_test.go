package state

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func keysOf(findings []Finding) []string {
	var keys []string
	for _, f := range findings {
		keys = append(keys, f.Key)
	}
	return keys
}

func TestVerify(t *testing.T) {
	store, p := newFakeStore(), &pods{}
	s, _ := history(t, Options{Store: store}, 1, 2, 3, 4)
	s.Pods = p
	takeOvers(t, s, p, 1)
	must(t, s.Register(t.Context(), Owner{UID: uid, Namespace: "ns", Name: "ws"}),
		s.PutOutputs(t.Context(), uid, []byte(`{"a":1}`)),
		s.PutChunk(t.Context(), RunID{UID: uid, Run: "a", RunUID: "r"}, NewChunk{Packed: packed(t, 0, "log\n")}),
		s.PutMade(t.Context(), "gone", "a", []byte("[1]")),
		s.Lock(t.Context(), "gone", holder("a"), info("1")))
	_, err := s.KeepUnsaved(t.Context(), "gone", Unsaved{Run: "a"}, []byte("packed"))
	must(t, err, s.sweep(t.Context(), s.TidyDeleted()), s.createOnce(t.Context(), allowed("destroyed"), nil))
	there := func(_ context.Context, asked string) (bool, error) { return asked == uid, nil }
	found, err := s.Verify(t.Context(), there)
	must(t, err)
	if found.Values != len(store.values) || len(found.Damaged)+len(found.Kept)+len(found.Unreferenced) > 0 {
		t.Errorf("of %d values: %+v", len(store.values), found)
	}
	if diff := cmp.Diff([]string{"gone"}, keysOf(found.Orphaned)); diff != "" {
		t.Errorf("orphaned (-want +got):\n%s", diff)
	}

	// One of each kind is damaged in a way of its own; nothing but a look at all of it would find them.
	flip := func(key, from, to string) {
		t.Helper()
		if !strings.Contains(store.values[key], from) {
			t.Fatalf("%s is %q", key, store.values[key])
		}
		store.values[key] = strings.Replace(store.values[key], from, to, 1)
	}
	flip(stateKey(2), `"run-2"}`, `"run-x"}`)
	flip("owner/u/000000000001", "{", "")
	flip("name/ns/ws/000000000001", "{", "")
	flip("lock/gone/000000000001", "{", "")
	flip("outputs/u/000000000001", "}", "")
	flip("unsaved/gone/000000000001", "}", "")
	flip("made/gone/000000000001", "}", "")
	store.values["archive/u/a~r/log/000000"] = "x"
	delete(store.values, stateKey(4)) // the fence stands for it
	store.values["probe/x"], store.values[CopyMark] = "", ""
	store.values["state/u/000000000001"] = "<html>"
	store.values["damaged/u/state/000000000001"] = "{}"
	store.values["damaged/u/state/000000000009"] = "{}"
	found, err = s.Verify(t.Context(), nil)
	must(t, err)
	want := []string{
		"archive/u/a~r/log/000000", "lock/gone/000000000001", "made/gone/000000000001", "name/ns/ws/000000000001",
		"outputs/u/000000000001", "owner/u/000000000001", stateKey(2), stateKey(5),
		"unsaved/gone/000000000001",
	}
	if diff := cmp.Diff(want, keysOf(found.Damaged)); diff != "" {
		t.Errorf("damaged (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{stateKey(1)}, keysOf(found.Kept)); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{CopyMark, "probe/x", "state/u/000000000009"}, keysOf(found.Unreferenced)); diff != "" {
		t.Errorf("unreferenced (-want +got):\n%s", diff)
	}
	if len(found.Orphaned) > 0 {
		t.Errorf("orphaned without anybody who could tell: %+v", found.Orphaned)
	}
}

// A store that can't be read isn't one that is in order.
func TestVerifyNeedsToReadAll(t *testing.T) {
	store := newFakeStore()
	s, _ := history(t, Options{Store: store}, 1, 2)
	down := fmt.Errorf("down")
	store.fail = func(op, key string) error {
		if op == "get" && key == stateKey(2) {
			return down
		}
		return nil
	}
	_, err := s.Verify(t.Context(), nil)
	wantErr(t, "verifying", err, down)
}
