package state

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// LockStatus is how a lock stands.
type LockStatus struct {
	Held      bool      `json:"held"`
	Holder    *Holder   `json:"holder,omitempty"`
	Since     time.Time `json:"since,omitzero"`
	ID        string    `json:"id,omitempty"`
	Operation string    `json:"operation,omitempty"`
	// Info is Terraform's own description, as the holder sent it.
	Info json.RawMessage `json:"info,omitempty"`
	// HolderGone tells that the holder has certainly ended: the lock passes over to whoever asks next.
	HolderGone bool `json:"holderGone,omitempty"`
	// Forced says who has freed the lock by force, if that is how it became free, and Why.
	Forced string `json:"forced,omitempty"`
	Why    string `json:"why,omitempty"`
	// Damaged is why the lock's record can't be read: who holds it, or whether somebody does, isn't known then.
	Damaged string `json:"damaged,omitempty"`
}

// LockStatus tells who holds the lock, since when and for what.
func (s *Service) LockStatus(ctx context.Context, uid string) (LockStatus, error) {
	_, now, err := s.newestLock(ctx, uid)
	if errors.Is(err, ErrDamaged) {
		return LockStatus{Damaged: err.Error()}, nil
	}
	if err != nil {
		return LockStatus{}, err
	}
	st := LockStatus{
		Held: now.Holder != nil, Holder: now.Holder, Since: now.At, ID: now.ID, Operation: now.Operation,
		Info: now.Info, Forced: now.Forced, Why: now.Why,
	}
	if st.Held {
		st.HolderGone, err = s.gone(ctx, now)
	}
	return st, err
}

// Release frees the lock of a holder that has certainly ended, and returns whom it was taken from: nil when the lock
// was free. That of a holder who may be alive is a *LockedError.
func (s *Service) Release(ctx context.Context, uid string, by Actor) (*Holder, error) {
	from, err := s.takeLock(ctx, uid, by, personally{operation: "unlock", allowed: func(now lockRecord) error {
		return s.passable(ctx, now)
	}})
	if err == nil && from != nil {
		s.metrics.lock(lockPassedOver)
	}
	return from, err
}

// ForceUnlock frees the lock whoever holds it; the lock's journal keeps by whom and why. It is for people who know that
// the holder is dead, because a write by it is refused from then on. An ID that isn't empty must be the lock's: the
// lock that somebody looked at may have passed on since. A lock whose record can't be read is freed too, and is kept
// aside.
func (s *Service) ForceUnlock(ctx context.Context, uid, id string, by Actor) (*Holder, error) {
	if by.Name == "" {
		return nil, fmt.Errorf("%w: who frees the lock must be known", ErrInvalid)
	}
	sameID := func(now lockRecord) error {
		if id != "" && now.ID != id {
			return fmt.Errorf("%w: the lock's ID is %q, not %q", ErrConflict, now.ID, id)
		}
		return nil
	}
	from, err := s.takeLock(ctx, uid, by, personally{operation: "unlock", allowed: sameID, overDamage: true})
	if err == nil && from != nil {
		s.metrics.lock(lockForced)
	}
	return from, err
}

// takeLock takes the lock in person, and gives it back free.
func (s *Service) takeLock(ctx context.Context, uid string, by Actor, p personally) (*Holder, error) {
	var from *Holder
	allowed := p.allowed
	p.allowed = func(now lockRecord) error {
		if from = now.Holder; len(now.lost) > 0 {
			from = &Holder{Person: unknownHolder}
		}
		if from == nil {
			return errFree
		}
		return allowed(now)
	}
	claim, err := s.lockPersonally(ctx, uid, by, p)
	if errors.Is(err, errFree) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s.Log.InfoContext(ctx, "the lock is taken from its holder", "by", by.Name, "why", by.Why,
		"namespace", from.Namespace, "run", from.Run, "pod", from.Pod)
	free := s.freeLock()
	free.Forced, free.Why = by.Name, by.Why
	return from, s.unlockPersonally(ctx, uid, claim, free)
}

// unknownHolder stands for whoever is named by a record that can't be read.
const unknownHolder = "somebody unknown, for the lock's record is damaged"

// errFree tells that there is nothing to free.
var errFree = errors.New("the lock is free")

// personally says what a person takes the lock for, and whether they may.
type personally struct {
	operation  string
	allowed    func(now lockRecord) error
	overDamage bool
}

// lockPersonally takes the lock for a moment.
func (s *Service) lockPersonally(ctx context.Context, uid string, by Actor, p personally) (Claim, error) {
	if by.Name == "" {
		return Claim{}, fmt.Errorf("%w: who asks for a %s must be known", ErrInvalid, p.operation)
	}
	claim := Claim{Holder: Holder{Person: by.Name}, LockID: rand.Text()}
	info, err := json.Marshal(map[string]string{"ID": claim.LockID, "Operation": p.operation, "Who": by.Name})
	if err != nil {
		return Claim{}, fmt.Errorf("encoding lock info: %w", err)
	}
	next, err := s.newLock(claim.Holder, info)
	if err != nil {
		return Claim{}, err
	}
	next.Until = next.At.Add(personalLock)
	next.Forced, next.Why = by.Name, by.Why
	asked, allowed := false, error(nil)
	err = s.acquire(ctx, uid, lockMove{next: next, overDamage: p.overDamage, allowed: func(now lockRecord) error {
		asked, allowed = true, p.allowed(now)
		return allowed
	}})
	if err != nil && asked && allowed == nil {
		// It was taken, or may have been, and nobody else gives it back before it passes over.
		err = errors.Join(err, s.unlockPersonally(ctx, uid, claim, s.freeLock()))
	}
	return claim, err
}

// unlockPersonally gives the lock back, also when the caller has gone meanwhile; what fails passes over by itself.
func (s *Service) unlockPersonally(ctx context.Context, uid string, claim Claim, free lockRecord) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
	defer cancel()
	err := s.moveLock(ctx, uid, lockMove{next: free, allowed: func(now lockRecord) error {
		if !now.heldBy(claim.Holder) || now.ID != claim.LockID {
			return errSettled
		}
		return nil
	}})
	if err != nil && !errors.Is(err, ErrBusy) {
		return fmt.Errorf("giving the lock back: %w", err)
	}
	return nil
}
