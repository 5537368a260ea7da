package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// Removal asks for all that is kept of a Workspace to go.
type Removal struct {
	Owner
	// Want is what the Workspace's last Run left.
	Want job.Expected
	// Destroyed is the serial of the state that a destruction left which ended well; 0 for none. A state in which
	// nobody can count the resources is taken for empty by that alone.
	Destroyed int64
}

// Purge removes all that is kept of a destroyed Workspace, and of those whose state it had taken over: at once, or
// after KeepDeleted. It returns ErrInUse while the newest state still has resources, or may have, a live Run holds the
// lock, a state waits to be stored, or something was made that is in no state, a *MissingError where there should be a
// state and is none, and ErrNotFound when nothing is kept.
func (s *Service) Purge(ctx context.Context, r Removal) error {
	if r.UID == "" || strings.Contains(r.UID, "/") {
		return fmt.Errorf("%w: a workspace's UID is needed", ErrInvalid)
	}
	kept, err := s.purgeable(ctx, r)
	if err != nil {
		return err
	}
	if kept {
		if err := s.createOnce(ctx, allowed(r.UID), nil); err != nil {
			return err
		}
		if s.KeepDeleted > 0 {
			return s.markDeleted(ctx, r.Owner)
		}
	}
	if err := s.erase(ctx, r.Owner); err != nil {
		return err
	}
	if !kept {
		return fmt.Errorf("workspace %s: %w", r.UID, ErrNotFound)
	}
	return nil
}

// allowed is the key that says that a UID's removal was allowed: when that is broken off, or its answer is lost, what
// is missing afterwards is no loss. It goes as archives do, by its age.
func allowed(uid string) string { return archiveOf(uid) + removalDir + "allowed" }

// removalDir can't be the name of a Run.
const removalDir = ".removed/"

// erase removes what is kept of a UID, the lock and the owner last: until then a second Purge still finds something and
// goes on.
func (s *Service) erase(ctx context.Context, o Owner) error {
	owner, err := s.OwnerOf(ctx, o.UID)
	if err != nil {
		return err
	}
	if err := s.eraseArchive(ctx, archiveOf(o.UID)); err != nil {
		return err
	}
	for _, j := range []journal{s.made(o.UID), s.unsaved(o.UID), s.outputs(o.UID), s.states(o.UID), s.locks(o.UID)} {
		if err := j.erase(ctx); err != nil {
			return err
		}
	}
	if err := s.eraseArchive(ctx, asideOf(o.UID)); err != nil {
		return err
	}
	if owner.From != "" {
		if err := s.eraseTaken(ctx, owner); err != nil {
			return err
		}
	}
	if owner.Exists() {
		o = owner.Owner
	}
	s.registered.forget(o.UID)
	if err := s.owners(o.UID).erase(ctx); err != nil {
		return err
	}
	return s.unlist(ctx, o)
}

// eraseTaken removes what is left of the UID whose state a Workspace had taken over.
func (s *Service) eraseTaken(ctx context.Context, by OwnerRecord) error {
	source, err := s.OwnerOf(ctx, by.From)
	if err != nil || source.TakenBy != by.UID {
		return err
	}
	source.UID = by.From
	return s.erase(ctx, source.Owner)
}

// purgeable tells whether anything is kept, or returns why it may not go.
func (s *Service) purgeable(ctx context.Context, r Removal) (bool, error) {
	lock, now, err := s.newestLock(ctx, r.UID)
	if errors.Is(err, ErrDamaged) {
		return false, fmt.Errorf("%w: %w", ErrInUse, err) // somebody may hold it
	}
	if err != nil {
		return false, err
	}
	if err := s.passable(ctx, now); err != nil {
		return false, fmt.Errorf("%w: %w", ErrInUse, err)
	}
	if err := errors.Join(s.NoneUnsaved(ctx, r.UID), s.NothingMade(ctx, r.UID)); err != nil {
		return false, inUseIf(err)
	}
	st, err := s.states(r.UID).newest(ctx)
	if err != nil {
		return false, err
	}
	v, data, err := s.Newest(ctx, r.UID)
	if errors.Is(err, ErrDamaged) {
		return false, fmt.Errorf("%w: %w", ErrInUse, err) // what can't be read isn't empty
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return false, err
	}
	if err := emptied(v, data, r.Destroyed); err != nil {
		return false, err
	}
	if err := s.nothingLost(ctx, r, v, data); err != nil {
		return false, err
	}
	out, err := s.outputs(r.UID).newest(ctx)
	return lock.n+st.n+out.n > 0, err
}

// inUseIf says of what waits for the next Run that the Workspace is in use.
func inUseIf(err error) error {
	if errors.Is(err, ErrUnsaved) || errors.Is(err, ErrMade) {
		return fmt.Errorf("%w: %w", ErrInUse, err)
	}
	return err
}

// emptied returns ErrInUse for a state that has resources, or may have.
func emptied(v Version, data []byte, destroyed int64) error {
	n, err := countResources(data)
	switch {
	case errors.Is(err, errUncountable) && destroyed > 0 && v.Serial == uint64(destroyed):
		return nil
	case err != nil:
		return fmt.Errorf("%w: %w", ErrInUse, err)
	case n > 0:
		return fmt.Errorf("%w: its state still has %d resources; destroy them first", ErrInUse, n)
	}
	return nil
}

// nothingLost makes sure that an empty state, or none, is what there should be.
func (s *Service) nothingLost(ctx context.Context, r Removal, v Version, data []byte) error {
	_, err := s.Store.Get(ctx, allowed(r.UID))
	if err == nil {
		return nil // it was allowed before
	}
	if !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("looking for an earlier removal: %w", err)
	}
	if len(data) == 0 {
		return s.absent(ctx, r.Owner, r.Want)
	}
	if why := s.differs(v, r.Want); why != "" {
		return s.unlike(r.Owner, v, why)
	}
	return nil
}

// errUncountable is returned for a state in which nobody can count: it is encrypted, or of a format that isn't known.
var errUncountable = errors.New("how many resources its state has can't be told")

// countResources counts the managed resources of a state; data sources are not counted, they manage nothing.
func countResources(data []byte) (int, error) {
	if len(data) == 0 {
		return 0, nil
	}
	var st struct {
		Encrypted json.RawMessage `json:"encrypted_data"`
		Resources *[]struct {
			Mode      string            `json:"mode"`
			Instances []json.RawMessage `json:"instances"`
		} `json:"resources"`
	}
	if err := json.Unmarshal(data, &st); err != nil {
		return 0, fmt.Errorf("%w: %w", errUncountable, err)
	}
	if st.Resources == nil || st.Encrypted != nil {
		return 0, errUncountable
	}
	n := 0
	for _, r := range *st.Resources {
		if r.Mode != "data" {
			n += len(r.Instances)
		}
	}
	return n, nil
}
