package state

import (
	"testing"
	"time"
)

// TestWhatIsKeptIsListedBehindDamage: a record about a state that can't be read hides neither that state nor others,
// and the state is nobody's to begin beside.
func TestWhatIsKeptIsListedBehindDamage(t *testing.T) {
	for name, spoilt := range map[string]string{
		"the owner": "owner/u/000000000001", "the deletion": "deleted/u", "the name": "name/ns/ws/000000000002",
	} {
		t.Run(name, func(t *testing.T) {
			store := newFakeStore()
			s := newService(store, &pods{})
			s.KeepDeleted = time.Hour
			ranWith(t, s, former, withResources(3, 1))
			must(t, s.createOnce(t.Context(), "deleted/u", []byte(`{"at":"2020-01-01T00:00:00Z"}`)))
			ranWith(t, s, renamd, withResources(3, 1))
			must(t, s.list(t.Context(), third))
			breaking(store, spoilt)

			in, err := s.KeptIn(t.Context(), "ns")
			must(t, err)
			anywhere, err := s.KeptAnywhere(t.Context())
			must(t, err)
			for where, kept := range map[string][]Kept{"in the namespace": in, "anywhere": anywhere} {
				uids := map[string]int{}
				for _, k := range kept {
					uids[k.UID] = int(k.Serial)
				}
				if uids["u"] != 3 || uids["u4"] != 3 || len(uids) != 2 {
					t.Errorf("%s: %v", where, uids)
				}
			}
			if err := s.Claim(t.Context(), again); err == nil {
				t.Error("a Workspace of the name begins beside the state")
			}
		})
	}
}
