package state

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Holder is who holds a lock: one Run, in one Pod.
type Holder struct {
	Namespace string `json:"namespace"`
	Run       string `json:"run"`
	Pod       string `json:"pod"`
	PodUID    string `json:"podUID"`
	// Person holds a lock in place of a Run, for the moment of a rollback.
	Person string `json:"person,omitempty"`
}

// Claim is a Holder that names the lock it means.
type Claim struct {
	Holder
	LockID string
}

// LockedError says who holds the lock.
type LockedError struct {
	Holder Holder
	Since  time.Time
	// Info is Terraform's own description of the lock, as its holder sent it.
	Info []byte
}

// Error implements error.
func (e *LockedError) Error() string {
	if e.Holder.Person != "" {
		return "locked by " + e.Holder.Person + " for a moment"
	}
	return fmt.Sprintf("locked by run %s/%s in pod %s since %s",
		e.Holder.Namespace, e.Holder.Run, e.Holder.Pod, e.Since.UTC().Format(time.RFC3339))
}

// lockRecord is one record of a lock's journal: held by somebody, or free.
type lockRecord struct {
	Version int `json:"version"`
	// Nonce makes the record unlike any other, which journals rely on.
	Nonce     string          `json:"nonce"`
	At        time.Time       `json:"at"`
	Holder    *Holder         `json:"holder,omitempty"`
	ID        string          `json:"id,omitempty"`
	Operation string          `json:"operation,omitempty"`
	Info      json.RawMessage `json:"info,omitempty"`
	// Took tells that the lock was taken from somebody.
	Took bool `json:"took,omitempty"`
	// Until is when a person's lock passes over: there is no Pod whose end would tell.
	Until time.Time `json:"until,omitzero"`
	// Forced says who has freed somebody else's lock, and Why.
	Forced string `json:"forced,omitempty"`
	Why    string `json:"why,omitempty"`

	// lost is the record that this one is in place of, because it can't be read: nobody knows who holds the lock.
	lost []damagedRecord
}

const lockVersion = 1

// Lock gives the lock to the holder, or returns a *LockedError. Asking again for what one holds already is fine,
// because the first answer may have been lost. The lock of a Run whose Pod is gone passes over.
func (s *Service) Lock(ctx context.Context, uid string, by Holder, info []byte) error {
	next, err := s.newLock(by, info)
	if err != nil {
		return err
	}
	var before lockRecord
	err = s.acquire(ctx, uid, lockMove{next: next, allowed: func(now lockRecord) error {
		before = now
		if now.heldBy(by) && now.ID == next.ID {
			return errSettled
		}
		return s.passable(ctx, now)
	}})
	s.countLock(before, by, err)
	return err
}

// countLock counts what came of asking for a lock; what was held already isn't taken again.
func (s *Service) countLock(before lockRecord, by Holder, err error) {
	if _, locked := errors.AsType[*LockedError](err); locked {
		s.metrics.lock(lockRefused)
	}
	if err != nil || before.heldBy(by) {
		return
	}
	if before.Holder != nil {
		s.metrics.lock(lockPassedOver)
	}
	s.metrics.lock(lockTaken)
}

// lockMove is a record to be appended to a lock's journal.
type lockMove struct {
	next lockRecord
	// allowed is told how the lock stands now, and returns nil, errSettled or a reason to refuse.
	allowed func(now lockRecord) error
	// overDamage goes on behind a record that can't be read, if allowed has nothing against it.
	overDamage bool
}

// acquire makes next the lock's record, and keeps out whoever held it before.
func (s *Service) acquire(ctx context.Context, uid string, m lockMove) error {
	allowed, took := m.allowed, false
	m.allowed = func(now lockRecord) error {
		err := allowed(now)
		took = now.Holder != nil || len(now.lost) > 0
		if errors.Is(err, errSettled) {
			took = now.Took // the answer was lost, perhaps before the fence was up
		}
		return err
	}
	if err := s.moveLock(ctx, uid, m); err != nil || !took {
		return err
	}
	return s.fence(ctx, uid)
}

// Unlock frees the lock. Freeing a free lock is fine, because the first answer may have been lost. Info may be empty
// (Terraform's force-unlock): then the caller's own lock is meant.
func (s *Service) Unlock(ctx context.Context, uid string, by Holder, info []byte) error {
	id, err := lockID(info)
	if err != nil && len(info) > 0 {
		return err
	}
	settled := false
	err = s.moveLock(ctx, uid, lockMove{next: s.freeLock(), allowed: func(now lockRecord) error {
		settled = now.Holder == nil
		switch {
		case settled:
			return errSettled
		case now.heldBy(by) && (id == "" || now.ID == id):
			return nil
		default:
			return now.refusal()
		}
	}})
	if errors.Is(err, errUnclear) {
		// It may have freed the lock, which others have now: that must not look as if it had been refused.
		return ErrBusy
	}
	if err == nil && !settled {
		s.metrics.lock(lockReleased)
	}
	return err
}

// moveLock appends a record to the lock's journal.
func (s *Service) moveLock(ctx context.Context, uid string, m lockMove) error {
	j := s.locks(uid)
	return s.applyFast(ctx, change{journal: j, keep: keepLocks, data: func(last record) ([]byte, error) {
		now, err := decodeLock(last)
		if errors.Is(err, ErrDamaged) && m.overDamage {
			now, err = lockRecord{lost: []damagedRecord{{last.n, err}}}, nil
		}
		if err != nil {
			return nil, err
		}
		if err := m.allowed(now); err != nil {
			return nil, err
		}
		by := Actor{Name: m.next.Forced, Why: m.next.Why}
		if err := s.setAside(ctx, j, now.lost, by); err != nil {
			return nil, err
		}
		next := m.next
		next.Took = next.Holder != nil && (now.Holder != nil || len(now.lost) > 0)
		data, err := json.Marshal(next)
		if err != nil {
			return nil, fmt.Errorf("encoding lock: %w", err)
		}
		return data, nil
	}})
}

// newestLock returns how the lock stands, and its record.
func (s *Service) newestLock(ctx context.Context, uid string) (record, lockRecord, error) {
	last, err := s.locks(uid).newest(ctx)
	if err != nil {
		return record{}, lockRecord{}, err
	}
	now, err := decodeLock(last)
	return last, now, err
}

// passable returns nil for a lock that is free or whose holder is certainly gone, and a *LockedError otherwise.
func (s *Service) passable(ctx context.Context, now lockRecord) error {
	if now.Holder == nil {
		return nil
	}
	gone, err := s.gone(ctx, now)
	if err != nil {
		return err
	}
	if !gone {
		return now.locked()
	}
	s.Log.InfoContext(ctx, "the lock's holder is gone, the lock passes over",
		"namespace", now.Holder.Namespace, "run", now.Holder.Run, "pod", now.Holder.Pod, "lockID", now.ID)
	return nil
}

func (s *Service) gone(ctx context.Context, now lockRecord) (bool, error) {
	if now.Holder.Person != "" {
		return s.Clock.Now().After(now.Until), nil
	}
	gone, err := s.Pods.Gone(ctx, *now.Holder)
	if err != nil {
		return false, fmt.Errorf("looking for the lock's holder: %w", err)
	}
	return gone, nil
}

// holds returns nil when the claimant holds the lock that it names.
func (s *Service) holds(ctx context.Context, uid string, by Claim) error {
	_, now, err := s.newestLock(ctx, uid)
	if err != nil {
		return err
	}
	if by.LockID == "" || !now.heldBy(by.Holder) || now.ID != by.LockID {
		return now.refusal()
	}
	return nil
}

func (s *Service) newLock(by Holder, info []byte) (lockRecord, error) {
	id, err := lockID(info)
	if err != nil {
		return lockRecord{}, err
	}
	var told struct{ Operation string }
	if err := json.Unmarshal(info, &told); err != nil {
		return lockRecord{}, fmt.Errorf("%w: reading lock info: %w", ErrInvalid, err)
	}
	return lockRecord{
		Version: lockVersion, Nonce: rand.Text(), At: s.Clock.Now(),
		Holder: &by, ID: id, Operation: told.Operation, Info: info,
	}, nil
}

func (s *Service) freeLock() lockRecord {
	return lockRecord{Version: lockVersion, Nonce: rand.Text(), At: s.Clock.Now()}
}

func lockID(info []byte) (string, error) {
	var told struct{ ID string }
	if err := json.Unmarshal(info, &told); err != nil {
		return "", fmt.Errorf("%w: reading lock info: %w", ErrInvalid, err)
	}
	if told.ID == "" {
		return "", fmt.Errorf("%w: the lock info has no ID", ErrInvalid)
	}
	return told.ID, nil
}

// decodeLock reads a record; the one before the first is a free lock.
func decodeLock(r record) (lockRecord, error) {
	var l lockRecord
	if r.n == 0 {
		return l, nil
	}
	if r.damaged != nil {
		return l, r.damaged
	}
	if err := json.Unmarshal(r.data, &l); err != nil {
		return lockRecord{}, fmt.Errorf("%w: the lock's record %d is no lock: %w", ErrDamaged, r.n, err)
	}
	return l, nil
}

func (l lockRecord) heldBy(h Holder) bool { return l.Holder != nil && *l.Holder == h }

func (l lockRecord) locked() *LockedError {
	return &LockedError{Holder: *l.Holder, Since: l.At, Info: l.Info}
}

// refusal says why somebody who doesn't hold the lock is turned away.
func (l lockRecord) refusal() error {
	if l.Holder == nil {
		return fmt.Errorf("%w: nobody holds it", ErrNotHolder)
	}
	return fmt.Errorf("%w: %w", ErrNotHolder, l.locked())
}
