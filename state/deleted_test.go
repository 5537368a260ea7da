package state

import (
	"errors"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
)

// TestADeletedStateStaysForAWhile: it is listed, read and taken over until its time is over, and holds up nobody who
// makes the Workspace again.
func TestADeletedStateStaysForAWhile(t *testing.T) {
	began := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, data := range map[string][]byte{
		"destroyed": withResources(4, 0),
		"encrypted": []byte(`{"lineage":"l","serial":4,"encrypted_data":"x"}`),
	} {
		t.Run(name, func(t *testing.T) {
			clk := clocktesting.NewFakeClock(began)
			s := newService(newFakeStore(), &pods{})
			s.Clock, s.KeepDeleted = clk, 24*time.Hour
			ranWith(t, s, former, withResources(3, 2))
			ranWith(t, s, former, data)
			gone := Removal{Owner: former, Destroyed: 4}
			if err := s.Purge(t.Context(), gone); err != nil {
				t.Fatal(err)
			}
			if err := s.Purge(t.Context(), gone); !errors.Is(err, ErrNotFound) {
				t.Errorf("a second deletion: got %v, want ErrNotFound", err)
			}
			clk.Step(23 * time.Hour)
			if err := s.eraseDeleted(t.Context()); err != nil {
				t.Fatal(err)
			}
			kept, err := s.KeptIn(t.Context(), "ns")
			if err != nil || len(kept) != 1 || !kept[0].Deleted.Equal(began) || kept[0].Versions != 2 {
				t.Fatalf("listed as %+v, %v; want two versions, deleted at the start", kept, err)
			}
			if _, got, err := s.Version(t.Context(), former.UID, 1); err != nil || string(got) != string(withResources(3, 2)) {
				t.Errorf("the state before the destruction: %s, %v", got, err)
			}
			if err := s.Claim(t.Context(), again); err != nil {
				t.Errorf("the Workspace made again: %v, want that nothing holds it", err)
			}
			if v, err := s.Adopt(t.Context(), TakeOver{To: third, From: "u", Reach: SameName, By: person}); err != nil || v.Serial != 4 {
				t.Errorf("taking it over: %+v, %v", v, err)
			}
			clk.Step(2 * time.Hour)
			if err := s.eraseDeleted(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, _, err := s.Newest(t.Context(), former.UID); !errors.Is(err, ErrNotFound) {
				t.Errorf("after its time: %v, want ErrNotFound", err)
			}
			if _, _, err := s.Newest(t.Context(), third.UID); err != nil {
				t.Errorf("what was taken over went too: %v", err)
			}
			if keys, err := s.Store.List(t.Context(), deletedDir); err != nil || len(keys) > 0 {
				t.Errorf("left: %v, %v", keys, err)
			}
		})
	}
}
