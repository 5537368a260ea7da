package state

import (
	"context"
	"errors"
	"fmt"
)

// AdoptNone in place of a UID says that a Workspace expects no state.
const AdoptNone = "none"

// Reach is how far a state may have been from the Workspace that takes it over.
type Reach int

const (
	// SameName is an earlier Workspace of the same namespace and name.
	SameName Reach = iota
	// SameNamespace is any of the namespace.
	SameNamespace
	// Anywhere is also one whose owner was never noted.
	Anywhere
)

// TakeOver is what a person wants to be done about a state that is missing.
type TakeOver struct {
	To Owner
	// From is the UID whose state is taken over; AdoptNone, or the Workspace's own, to go on with what there is.
	From  string
	Reach Reach
	By    Actor
}

// Adopt makes the state of another UID the Workspace's own. That one's last word is who has taken it over: of two who
// ask, one gets it. Asking again goes on where it was broken off, and is fine when all is done.
//
//	owner/<to>: From --> owner/<from>: TakenBy --> state/<to>/1
//
// As long as only the first is there the Workspace has nothing yet, and the state may still become another's; from the
// second on it is this one's, and until the third is there nobody takes its absence for an empty state.
func (s *Service) Adopt(ctx context.Context, t TakeOver) (Version, error) {
	ctx, cancel := context.WithTimeout(ctx, rollbackTimeout)
	defer cancel()
	own, _, err := s.Newest(ctx, t.To.UID)
	absent := errors.Is(err, ErrNotFound)
	if err != nil && !absent {
		return Version{}, err
	}
	now, err := s.OwnerOf(ctx, t.To.UID)
	switch {
	case err != nil:
		return Version{}, err
	case t.From == AdoptNone && absent:
		return Version{}, s.startAfresh(ctx, t, now)
	case t.From == AdoptNone, t.From == t.To.UID && !absent, !absent && now.From == t.From:
		return own, s.Register(ctx, t.To)
	case t.From == t.To.UID:
		return Version{}, fmt.Errorf("%w: nothing is kept for UID %s, which is this Workspace's own", ErrNotFound, t.From)
	case !absent:
		return Version{}, fmt.Errorf("%w: the Workspace has a state of its own (serial %d), and takes over none beside it",
			ErrConflict, own.Serial)
	}
	return s.takeOver(ctx, t)
}

// startAfresh lets a Workspace begin with nothing. What it had begun to take over is free again.
func (s *Service) startAfresh(ctx context.Context, t TakeOver, now OwnerRecord) error {
	if now.From != "" {
		err := s.appendOwner(ctx, Owner{UID: now.From}, func(source *OwnerRecord) error {
			if source.TakenBy != t.To.UID {
				return errSettled
			}
			source.TakenBy = ""
			return nil
		})
		if err != nil {
			return err
		}
	}
	return s.changeOwner(ctx, t.To, func(now *OwnerRecord) error {
		if now.Exists() && now.From == "" {
			return errSettled
		}
		now.From, now.By, now.Why, now.At = "", t.By.Name, t.By.Why, s.Clock.Now().UTC()
		return nil
	})
}

func (s *Service) takeOver(ctx context.Context, t TakeOver) (Version, error) {
	source, err := s.OwnerOf(ctx, t.From)
	if err != nil {
		return Version{}, err
	}
	if err := t.permits(source); err != nil {
		return Version{}, err
	}
	source.UID = t.From
	if err := s.finish(ctx, source, t.By); err != nil {
		return Version{}, err
	}
	kept, err := s.keptFor(ctx, t.From)
	if err == nil && kept == nil && source.TakenBy == "" {
		err = fmt.Errorf("%w: nothing is kept for UID %s", ErrNotFound, t.From)
	}
	if err != nil {
		return Version{}, err
	}
	err = s.changeOwner(ctx, t.To, func(now *OwnerRecord) error {
		if now.From == t.From {
			return errSettled
		}
		now.From, now.By, now.Why, now.At = t.From, t.By.Name, t.By.Why, s.Clock.Now().UTC()
		return nil
	})
	if err != nil {
		return Version{}, err
	}
	return s.transfer(ctx, source.Owner, t.To, t.By)
}

// permits refuses a state that is too far away, or another's already.
func (t TakeOver) permits(source OwnerRecord) error {
	switch {
	case source.TakenBy == t.To.UID:
		return nil
	case source.TakenBy != "":
		return fmt.Errorf("%w: UID %s has taken over the state of UID %s: name that one", ErrConflict, source.TakenBy, t.From)
	case !source.Exists() && t.Reach < Anywhere, source.Exists() && source.Namespace != t.To.Namespace:
		return fmt.Errorf("%w: no state of UID %s is known in namespace %s", ErrNotFound, t.From, t.To.Namespace)
	case source.Exists() && source.Name != t.To.Name && t.Reach == SameName:
		return fmt.Errorf("%w: the state of UID %s was that of Workspace %s: to take it over under another name use "+
			"plumbline state adopt %s --from %s", ErrConflict, t.From, source.Name, t.To.Name, t.From)
	}
	return nil
}

// finish completes the take-over that a source itself was broken off in: its state is where that one lay.
func (s *Service) finish(ctx context.Context, source OwnerRecord, by Actor) error {
	if source.From == "" || source.TakenBy != "" {
		return nil
	}
	if _, _, err := s.Newest(ctx, source.UID); !errors.Is(err, ErrNotFound) {
		return err
	}
	before, err := s.OwnerOf(ctx, source.From)
	if err != nil || before.TakenBy != source.UID {
		return err
	}
	_, err = s.transfer(ctx, before.Owner, source.Owner, by)
	return err
}

// transfer moves a state, under the locks of both: a late write of the former owner's last Run is kept out, as is a Run
// of the new one.
func (s *Service) transfer(ctx context.Context, from, to Owner, by Actor) (v Version, err error) {
	free := personally{operation: "adopt", allowed: func(now lockRecord) error { return s.passable(ctx, now) }}
	former, err := s.lockPersonally(ctx, from.UID, by, free)
	if err != nil {
		return Version{}, fmt.Errorf("locking the state of UID %s: %w", from.UID, err)
	}
	defer func() { err = errors.Join(err, s.unlockPersonally(ctx, from.UID, former, s.freeLock())) }()
	claim, err := s.lockPersonally(ctx, to.UID, by, free)
	if err != nil {
		return Version{}, err
	}
	defer func() { err = errors.Join(err, s.unlockPersonally(ctx, to.UID, claim, s.freeLock())) }()
	err = s.appendOwner(ctx, from, func(now *OwnerRecord) error {
		switch {
		case now.TakenBy == to.UID:
			return errSettled
		case now.TakenBy != "":
			return fmt.Errorf("%w: UID %s has taken over the state of UID %s meanwhile", ErrConflict, now.TakenBy, from.UID)
		}
		now.TakenBy, now.By, now.Why, now.At = to.UID, by.Name, by.Why, s.Clock.Now().UTC()
		return nil
	})
	if err != nil {
		return Version{}, err
	}
	if err = s.carryUnsaved(ctx, from.UID, to.UID); err != nil {
		return Version{}, err
	}
	v, err = s.copyState(ctx, copying{from: from.UID, to: to.UID, claim: claim, by: by})
	if err != nil && !errors.Is(err, ErrNotFound) { // a first state that was refused may be all there is
		return Version{}, err
	}
	return v, s.unlist(ctx, from)
}

// carryUnsaved makes what a UID's Runs could not save, and what they made and no state holds, another's too: its next
// Run stores the one and takes the other over before it reads the state.
func (s *Service) carryUnsaved(ctx context.Context, from, to string) error {
	waiting, err := s.waiting(ctx, from)
	if err != nil {
		return err
	}
	made, err := s.Made(ctx, from)
	if err != nil {
		return err
	}
	for run, list := range made {
		if err := s.PutMade(ctx, to, run, list); err != nil {
			return err
		}
	}
	if len(waiting) == 0 {
		return nil
	}
	return s.changeUnsaved(ctx, to, func(there []unsavedState) ([]unsavedState, error) {
		if len(there) > 0 {
			return nil, errSettled // carried before: the Workspace has no state of its own yet
		}
		return waiting, nil
	})
}

// copying is a state on its way from one UID to another, whose lock is held.
type copying struct {
	from, to string
	claim    Claim
	by       Actor
}

// copyState makes the newest state of a UID, and its outputs, the first of another.
func (s *Service) copyState(ctx context.Context, c copying) (Version, error) {
	old, data, err := s.Newest(ctx, c.from)
	if err != nil {
		return Version{}, err
	}
	outputs, err := s.Outputs(ctx, c.from)
	if err == nil {
		err = s.PutOutputs(ctx, c.to, outputs)
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Version{}, err
	}
	return s.writeVersion(ctx, stateChange{uid: c.to, next: func(now current) (Version, []byte, error) {
		switch err := s.holds(ctx, c.to, c.claim); {
		case err != nil:
			return Version{}, nil, err
		case now.head.Size > 0 && now.head.AdoptedFrom == c.from:
			return now.head.Version, nil, errSettled
		case now.head.Size > 0:
			return Version{}, nil, fmt.Errorf("%w: the Workspace has a state of its own meanwhile", ErrConflict)
		}
		v := Version{Serial: old.Serial, Lineage: old.Lineage, Size: old.Size, Digest: old.Digest}
		v.Person, v.Why, v.AdoptedFrom = c.by.Name, c.by.Why, c.from
		return v, data, nil
	}})
}
