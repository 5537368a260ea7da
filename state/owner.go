package state

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// A UID is no identity that survives a backup: whose Workspace is restored gets another one. So beside the versions of
// a UID stand two more journals:
//
//	owner/<uid>               OwnerRecord: whose the state is, and whether another UID has taken it over
//	name/<namespace>/<name>   nameRecord: the UIDs of the Workspaces that had this name and have a state
//
// A name is looked up only where a UID has no state, which is before a Workspace's first write. The journal of a name
// is a hint: what it lists counts as far as there is a state and its owner record agrees.

// Owner is the Workspace that a state is of.
type Owner struct {
	UID       string `json:"uid"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// OwnerRecord is what the store keeps of an Owner.
type OwnerRecord struct {
	Owner
	Version int `json:"version"`
	// Nonce makes the record unlike any other, which journals rely on.
	Nonce string `json:"nonce"`
	// Installation is that of the service that wrote it: its system namespace.
	Installation string    `json:"installation,omitempty"`
	Created      time.Time `json:"created,omitzero"`
	// From is the UID whose state this one takes over, or has taken over. As long as there is no state it is not done
	// yet.
	From string `json:"from,omitempty"`
	// TakenBy is the UID that has taken this state over: it is nobody else's any more.
	TakenBy string `json:"takenBy,omitempty"`
	// By, Why and At are of the take-over.
	By  string    `json:"by,omitempty"`
	Why string    `json:"why,omitempty"`
	At  time.Time `json:"at,omitzero"`
}

// Exists tells whether the owner was ever noted.
func (o OwnerRecord) Exists() bool { return o.Version > 0 }

const (
	ownerVersion = 1
	ownersDir    = "owner/"
	namesDir     = "name/"
	keepOwners   = 2
)

func (s *Service) owners(uid string) journal { return s.journalAt(ownersDir + uid) }

func (s *Service) named(namespace, name string) journal {
	return s.journalAt(namesDir + namespace + "/" + shortened(name))
}

// maxNamePart leaves room in a key for a namespace and a number.
const maxNamePart = 120

// shortened is a name as part of a key.
func shortened(name string) string {
	if len(name) <= maxNamePart {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return name[:maxNamePart-17] + "-" + hex.EncodeToString(sum[:8])
}

// nameRecord lists UIDs.
type nameRecord struct {
	Version int      `json:"version"`
	Nonce   string   `json:"nonce"`
	UIDs    []string `json:"uids"`
}

// known remembers which UIDs have an owner record: it is never taken away while the Workspace lives.
type known struct {
	mu sync.Mutex
	m  map[string]bool
}

func (k *known) has(uid string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.m[uid]
}

func (k *known) set(uid string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.m) >= maxHints || k.m == nil {
		k.m = map[string]bool{}
	}
	k.m[uid] = true
}

func (k *known) forget(uid string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.m, uid)
}

// OwnerOf returns whose a state is; the zero record when that was never noted.
func (s *Service) OwnerOf(ctx context.Context, uid string) (OwnerRecord, error) {
	last, err := s.owners(uid).newest(ctx)
	if err != nil {
		return OwnerRecord{}, err
	}
	return decodeOwner(last)
}

func decodeOwner(r record) (OwnerRecord, error) {
	var o OwnerRecord
	if r.n == 0 || r.damaged != nil {
		return o, r.damaged
	}
	if err := json.Unmarshal(r.data, &o); err != nil {
		return OwnerRecord{}, fmt.Errorf("%w: the owner's record %d is none: %w", ErrDamaged, r.n, err)
	}
	return o, nil
}

// Register notes whose a UID is, once.
func (s *Service) Register(ctx context.Context, o Owner) error {
	if s.registered.has(o.UID) {
		return nil
	}
	return s.changeOwner(ctx, o, func(now *OwnerRecord) error {
		if now.Exists() {
			return errSettled
		}
		return nil
	})
}

// changeOwner appends what change makes of the owner's record, which is a new one where there is none. The name comes
// first: what it lists in vain does no harm.
func (s *Service) changeOwner(ctx context.Context, o Owner, change func(now *OwnerRecord) error) error {
	if o.Name != "" {
		if err := s.list(ctx, o); err != nil {
			return err
		}
	}
	err := s.appendOwner(ctx, o, change)
	if err == nil {
		s.registered.set(o.UID)
	}
	return err
}

func (s *Service) appendOwner(ctx context.Context, o Owner, alter func(now *OwnerRecord) error) error {
	return s.apply(ctx, change{journal: s.owners(o.UID), keep: keepOwners, data: func(last record) ([]byte, error) {
		now, err := decodeOwner(last)
		if err != nil {
			return nil, err
		}
		if err := alter(&now); err != nil {
			return nil, err
		}
		if !now.Exists() {
			now.Owner, now.Installation, now.Created = o, s.Installation, s.Clock.Now().UTC()
		}
		now.Version, now.Nonce = ownerVersion, rand.Text()
		return encode(now)
	}})
}

func encode(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding a record: %w", err)
	}
	return b, nil
}

// uidsOf returns the UIDs that a name lists.
func (s *Service) uidsOf(ctx context.Context, namespace, name string) ([]string, error) {
	last, err := s.named(namespace, name).newest(ctx)
	if err != nil {
		return nil, err
	}
	now, err := decodeName(last)
	return now.UIDs, err
}

func decodeName(r record) (nameRecord, error) {
	var n nameRecord
	if r.n == 0 || r.damaged != nil {
		return n, r.damaged
	}
	if err := json.Unmarshal(r.data, &n); err != nil {
		return nameRecord{}, fmt.Errorf("%w: the name's record %d is none: %w", ErrDamaged, r.n, err)
	}
	return n, nil
}

// list and unlist put a UID on the list of its name, and take it off.
func (s *Service) list(ctx context.Context, o Owner) error {
	return s.changeName(ctx, o, func(uids []string) []string {
		if slices.Contains(uids, o.UID) {
			return uids
		}
		return append(uids, o.UID)
	})
}

func (s *Service) unlist(ctx context.Context, o Owner) error {
	if o.Name == "" {
		return nil
	}
	return s.changeName(ctx, o, func(uids []string) []string {
		return slices.DeleteFunc(uids, func(uid string) bool { return uid == o.UID })
	})
}

func (s *Service) changeName(ctx context.Context, o Owner, alter func([]string) []string) error {
	j := s.named(o.Namespace, o.Name)
	return s.apply(ctx, change{journal: j, keep: keepOwners, data: func(last record) ([]byte, error) {
		now, err := decodeName(last)
		if err != nil {
			return nil, err
		}
		n := len(now.UIDs)
		now.UIDs = alter(now.UIDs)
		if len(now.UIDs) == n {
			return nil, errSettled
		}
		now.Version, now.Nonce = ownerVersion, rand.Text()
		return encode(now)
	}})
}

// Kept describes the state of a UID.
type Kept struct {
	Owner
	// Versions counts those that are kept, where they are listed. Serial, Lineage and At are of the newest.
	Versions int       `json:"versions"`
	Serial   uint64    `json:"serial"`
	Lineage  string    `json:"lineage"`
	At       time.Time `json:"at,omitzero"`
	// Resources counts those that it manages; nil for a state that is encrypted or damaged, in which nobody can count.
	Resources *int `json:"resources,omitempty"`
	// Deleted is when the Workspace was deleted with all that it managed; zero for one that was lost or orphaned.
	Deleted time.Time `json:"deleted,omitzero"`
}

// wasDeleted tells whether a deletion was the last that became of it.
func (k Kept) wasDeleted() bool { return !k.Deleted.IsZero() && !k.At.After(k.Deleted) }

// keptFor describes the state of a UID; nil when there is none, or another UID has taken it over.
func (s *Service) keptFor(ctx context.Context, uid string) (*Kept, error) {
	// Of what is said about a state and can't be read nothing counts: not that it is another's, nor that it may go.
	owner, err := s.OwnerOf(ctx, uid)
	if err != nil && !errors.Is(err, ErrDamaged) || owner.TakenBy != "" {
		return nil, err
	}
	k := &Kept{Owner: owner.Owner}
	k.UID = uid
	if k.Deleted, err = s.deletedAt(ctx, uid); err != nil && !errors.Is(err, ErrDamaged) {
		return nil, err
	}
	v, data, err := s.newestOrOnItsWay(ctx, uid, owner)
	switch {
	case errors.Is(err, ErrNotFound):
		return s.unsavedOnly(ctx, k)
	case errors.Is(err, ErrDamaged):
		return k, nil // what is in it can't be told
	case err != nil:
		return nil, err
	}
	k.Serial, k.Lineage, k.At = v.Serial, v.Lineage, v.At
	if n, err := countResources(data); err == nil {
		k.Resources = &n
	}
	return k, nil
}

// newestOrOnItsWay is a UID's state, or the one that it has taken over from another and hasn't got yet: that is nobody
// else's.
func (s *Service) newestOrOnItsWay(ctx context.Context, uid string, to OwnerRecord) (Version, []byte, error) {
	v, data, err := s.Newest(ctx, uid)
	if !errors.Is(err, ErrNotFound) || to.From == "" {
		return v, data, err
	}
	source, err := s.OwnerOf(ctx, to.From)
	if err == nil && source.TakenBy != to.UID {
		err = fmt.Errorf("the state of UID %s: %w", to.UID, ErrNotFound)
	}
	if err != nil {
		return Version{}, nil, err
	}
	return s.Newest(ctx, to.From)
}

// unsavedOnly is for a UID without a state; nil where nothing else is kept. What its Runs made may stand in none yet,
// and whoever begins beside it would make it again.
func (s *Service) unsavedOnly(ctx context.Context, k *Kept) (*Kept, error) {
	waiting, err := s.waiting(ctx, k.UID)
	if err == nil && len(waiting) > 0 {
		k.Serial, k.Lineage, k.At = waiting[0].Serial, waiting[0].Lineage, waiting[0].At
		return k, nil
	}
	made, madeErr := s.Made(ctx, k.UID)
	if err != nil || madeErr != nil || len(made) == 0 {
		return nil, errors.Join(err, madeErr)
	}
	return k, nil
}
