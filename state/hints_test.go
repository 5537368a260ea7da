package state

import (
	"fmt"
	"testing"
)

// TestMemoryDoesNotGrowWithWorkspaces: what a server remembers of them is bounded, in number and in size, and to forget
// it costs a look.
func TestMemoryDoesNotGrowWithWorkspaces(t *testing.T) {
	h := newHints()
	large := make([]byte, maxHintData+1)
	for i := range 3 * maxHints {
		h.set(fmt.Sprintf("state/%d", i), record{n: 1, data: large})
		if len(h.m) > maxHints {
			t.Fatalf("%d journals are remembered, the most is %d", len(h.m), maxHints)
		}
	}
	for dir, r := range h.m {
		if len(r.data) > maxHintData {
			t.Fatalf("of %s %d bytes are remembered", dir, len(r.data))
		}
	}
	s := newService(newFakeStore(), &pods{})
	if err := write("a", "1", 1, nil).do(s); err == nil {
		t.Fatal("there is no lock yet")
	}
	for _, step := range []step{lock("a", "1", nil), write("a", "1", 1, nil)} {
		if err := step.do(s); err != nil {
			t.Fatal(err)
		}
	}
	clear(s.hints.m)
	if err := write("a", "1", 2, nil).do(s); err != nil {
		t.Errorf("a server that has forgotten everything: %v", err)
	}
	for i := range 2 * pruneQueue {
		s.pruneLater(record{n: pruneEvery}, prune{journal: s.states(fmt.Sprint(i))})
	}
	if len(s.prunes) > pruneQueue {
		t.Errorf("%d journals wait to be pruned", len(s.prunes))
	}
}
