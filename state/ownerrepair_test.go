package state

import (
	"slices"
	"testing"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// TestADamagedOwnerIsRepaired: while nobody can tell whose a state is, or who had a name, nothing new is begun; a
// person goes on, and what is still listed of the name counts as before.
func TestADamagedOwnerIsRepaired(t *testing.T) {
	const ownerKey, nameKey = "owner/u2/000000000001", "name/ns/ws/000000000002"
	for name, test := range map[string]struct {
		spoilt []string
		begun  bool // whether the Workspace has a state
		holds  bool // whether it is asked again what it is to begin with
	}{
		"the owner of a state":      {spoilt: []string{ownerKey}, begun: true},
		"the owner of none yet":     {spoilt: []string{ownerKey}, holds: true},
		"the name":                  {spoilt: []string{nameKey}},
		"the name of one that runs": {spoilt: []string{nameKey}, begun: true},
		"both":                      {spoilt: []string{nameKey, ownerKey}, holds: true},
	} {
		t.Run(name, func(t *testing.T) {
			store := newFakeStore()
			before := newService(store, &pods{})
			ranWith(t, before, former, withResources(3, 1))
			must(t, before.Register(t.Context(), again)) // the second of the name, that starts afresh
			if test.begun {
				ranWith(t, before, again, withResources(1, 0))
			}
			breaking(store, test.spoilt...)

			s := newService(store, &pods{}) // a server that was started since
			wantDamaged(t, "claiming", s.Claim(t.Context(), again))
			damaged, err := s.RepairOwner(t.Context(), again, alice)
			if err != nil || !slices.Equal(damaged, test.spoilt) {
				t.Errorf("repaired %v, %v; want %v", damaged, err, test.spoilt)
			}
			if err := s.Claim(t.Context(), again); isMissing(err) != test.holds || err != nil && !test.holds {
				t.Errorf("claiming: %v; want it held: %t", err, test.holds)
			}
			_, err = s.Adopt(t.Context(), TakeOver{To: again, From: AdoptNone, By: person})
			must(t, err, s.Claim(t.Context(), again))
			if o, err := s.OwnerOf(t.Context(), again.UID); err != nil || o.Owner != again {
				t.Errorf("the owner is %+v, %v; want %+v", o, err, again)
			}
			_, _, err = s.NewestExpected(t.Context(), third, job.Expected{})
			wantMissing(t, err, "UID u: serial 3")
			wantAllKept(t, s, test.spoilt)
		})
	}
}

func wantAllKept(t *testing.T, s *Service, spoilt []string) {
	t.Helper()
	if damaged, err := s.RepairOwner(t.Context(), again, alice); err != nil || len(damaged) > 0 {
		t.Errorf("repaired once more: %v, %v", damaged, err)
	}
	found, err := s.Verify(t.Context(), nil)
	if err != nil || len(found.Damaged)+len(found.Unreferenced) > 0 || !slices.Equal(keysOf(found.Kept), spoilt) {
		t.Errorf("verified: %+v, %v; want %v kept", found, err, spoilt)
	}
}
