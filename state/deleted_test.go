package state

import (
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
			must(t, s.Purge(t.Context(), gone))
			wantErr(t, "a second deletion", s.Purge(t.Context(), gone), ErrNotFound)
			clk.Step(23 * time.Hour)
			must(t, s.eraseDeleted(t.Context()))
			kept, err := s.KeptIn(t.Context(), "ns")
			if err != nil || len(kept) != 1 || !kept[0].Deleted.Equal(began) || kept[0].Versions != 2 {
				t.Fatalf("listed as %+v, %v; want two versions, deleted at the start", kept, err)
			}
			if _, got, err := s.Version(t.Context(), former.UID, 1); err != nil || string(got) != string(withResources(3, 2)) {
				t.Errorf("the state before the destruction: %s, %v", got, err)
			}
			wantErr(t, "claiming for the Workspace made again, which nothing holds", s.Claim(t.Context(), again), nil)
			v, err := s.Adopt(t.Context(), TakeOver{To: third, From: "u", Reach: SameName, By: person})
			if err != nil || v.Serial != 4 {
				t.Errorf("taking it over: %+v, %v", v, err)
			}
			clk.Step(2 * time.Hour)
			must(t, s.eraseDeleted(t.Context()))
			wantOnlyTakenOver(t, s)
		})
	}
}

// wantOnlyTakenOver wants the former state to be erased, and the one that has taken it over to be there.
func wantOnlyTakenOver(t *testing.T, s *Service) {
	t.Helper()
	_, _, err := s.Newest(t.Context(), former.UID)
	wantErr(t, "reading it after its time", err, ErrNotFound)
	_, _, err = s.Newest(t.Context(), third.UID)
	wantErr(t, "reading what was taken over", err, nil)
	if keys, err := s.Store.List(t.Context(), deletedDir); err != nil || len(keys) > 0 {
		t.Errorf("left: %v, %v", keys, err)
	}
}

// TestADeletedStateThatIsNeededStays: the mark of a deletion goes, and nothing else, when its time is over and the UID
// was used again: a cluster that is put back has the Workspace once more.
func TestADeletedStateThatIsNeededStays(t *testing.T) {
	for name, use := range map[string]func(t *testing.T, s *Service){
		"a Run wrote since": func(t *testing.T, s *Service) {
			ranWith(t, s, former, withResources(5, 2))
			wantMissing(t, s.Claim(t.Context(), again), "2 resources")
		},
		"a Run could not save since": func(t *testing.T, s *Service) {
			_, err := s.KeepUnsaved(t.Context(), former.UID, Unsaved{Run: "a"}, []byte("packed"))
			must(t, err)
		},
		"a Run made something since": func(t *testing.T, s *Service) {
			must(t, s.PutMade(t.Context(), former.UID, "a", []byte(`[{}]`)))
		},
		"a take-over was broken off": func(t *testing.T, s *Service) {
			must(t, s.changeOwner(t.Context(), third, func(o *OwnerRecord) error { o.From = former.UID; return nil }),
				s.appendOwner(t.Context(), former, func(o *OwnerRecord) error { o.TakenBy = third.UID; return nil }))
		},
	} {
		t.Run(name, func(t *testing.T) {
			clk := clocktesting.NewFakeClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
			s := newService(newFakeStore(), &pods{})
			s.Clock, s.KeepDeleted = clk, 24*time.Hour
			ranWith(t, s, former, withResources(4, 0))
			must(t, s.Purge(t.Context(), Removal{Owner: former, Destroyed: 4}))
			clk.Step(time.Hour)
			use(t, s)
			before, _, err := s.Newest(t.Context(), former.UID)
			must(t, err)
			clk.Step(24 * time.Hour)
			must(t, s.eraseDeleted(t.Context()))
			after, _, err := s.Newest(t.Context(), former.UID)
			if err != nil || after.Number != before.Number {
				t.Errorf("version %d is the newest, %v; it was %d", after.Number, err, before.Number)
			}
			if keys, err := s.Store.List(t.Context(), deletedDir); err != nil || len(keys) > 0 {
				t.Errorf("still marked as deleted: %v, %v", keys, err)
			}
		})
	}
}
