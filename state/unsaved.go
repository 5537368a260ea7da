package state

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// Beside the versions of a state, in the journal unsaved/<uid>, stand the states that Runs could not save: something
// was applied, and the backend refused for good what says so. While there is one, no Run reads the state, so that none
// can plan without it: the next Run has it stored first (StoreUnsaved). Nothing but that, or a person, makes it go:
// neither the pruning of Runs nor the age of archives, and a Workspace that has one isn't purged.

var (
	// ErrUnsaved is returned for what must wait until a state is stored that a Run could not save.
	ErrUnsaved = errors.New("a run has applied something and could not save its state")
	errTooMany = fmt.Errorf("%w: as many states as are kept wait to be stored already", ErrConflict)
)

const (
	// MaxUnsaved bounds an unsaved state as it travels. What is unpacked of it has to fit in the state service as any
	// other state.
	MaxUnsaved = 32 << 20
	maxState   = 64 << 20
	// maxUnsaved is how many may wait: after the first nothing is applied but by Pods that were lost.
	maxUnsaved = 4
	// keepUnsaved is how many records of the journal stay.
	keepUnsaved = 2
)

// Unsaved describes a state that a Run could not save.
type Unsaved struct {
	ID  string    `json:"id"`
	At  time.Time `json:"at"`
	Run string    `json:"run"`
	// Why it could not be saved.
	Why string `json:"why,omitempty"`
	// Place is the digest of the backend that it belongs in; empty for this service.
	Place   string `json:"place,omitempty"`
	Serial  uint64 `json:"serial"`
	Lineage string `json:"lineage,omitempty"`
}

// unsavedRecord is one record of the journal: all that wait.
type unsavedRecord struct {
	// Nonce makes the record unlike any other, which journals rely on.
	Nonce   string         `json:"nonce"`
	Waiting []unsavedState `json:"waiting,omitempty"`
}

type unsavedState struct {
	Unsaved
	Packed []byte `json:"packed"`
}

func (s *Service) unsaved(uid string) journal { return s.journalAt("unsaved/" + uid) }

// KeepUnsaved keeps a state, as gzip has packed it, until it is stored. It takes what it is given: this is no time to
// be particular. The same again is fine, because the first answer may have been lost.
func (s *Service) KeepUnsaved(ctx context.Context, uid string, u Unsaved, packed []byte) (Unsaved, error) {
	sum := sha256.Sum256(packed)
	u.ID, u.At = hex.EncodeToString(sum[:8]), s.Clock.Now().UTC()
	err := s.changeUnsaved(ctx, uid, func(waiting []unsavedState) ([]unsavedState, error) {
		if slices.ContainsFunc(waiting, func(w unsavedState) bool { return w.ID == u.ID }) {
			return nil, errSettled
		}
		if len(waiting) >= maxUnsaved {
			return nil, errTooMany
		}
		return append(waiting, unsavedState{u, packed}), nil
	})
	return u, err
}

// Unsaved lists the states that wait, in the order in which they came.
func (s *Service) Unsaved(ctx context.Context, uid string) ([]Unsaved, error) {
	waiting, err := s.waiting(ctx, uid)
	list := make([]Unsaved, 0, len(waiting))
	for _, w := range waiting {
		list = append(list, w.Unsaved)
	}
	return list, err
}

// UnsavedState returns one of them, packed, or ErrNotFound.
func (s *Service) UnsavedState(ctx context.Context, uid, id string) ([]byte, error) {
	waiting, err := s.waiting(ctx, uid)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(waiting, func(w unsavedState) bool { return w.ID == id })
	if i < 0 {
		return nil, fmt.Errorf("unsaved state %s: %w", id, ErrNotFound)
	}
	return waiting[i].Packed, nil
}

// DropUnsaved forgets one: it was stored elsewhere, or a person gives it up. That it is gone is fine.
func (s *Service) DropUnsaved(ctx context.Context, uid, id string) error {
	return s.changeUnsaved(ctx, uid, func(waiting []unsavedState) ([]unsavedState, error) {
		left := slices.DeleteFunc(slices.Clone(waiting), func(w unsavedState) bool { return w.ID == id })
		if len(left) == len(waiting) {
			return nil, errSettled
		}
		return left, nil
	})
}

// StoreUnsaved makes the states that wait, and belong here, the newest versions, under a lock of the caller's. What is
// left belongs in other backends. A state that can't come after the stored one stays, with ErrUnsaved.
func (s *Service) StoreUnsaved(ctx context.Context, uid string, by Holder) (left []Unsaved, err error) {
	waiting, err := s.waiting(ctx, uid)
	if err != nil {
		return nil, err
	}
	for _, w := range waiting {
		if w.Place != "" {
			left = append(left, w.Unsaved)
			continue
		}
		if err := s.storeOne(ctx, uid, by, w); err != nil {
			return nil, err
		}
	}
	return left, nil
}

func (s *Service) storeOne(ctx context.Context, uid string, by Holder, w unsavedState) error {
	state, err := unpackState(w.Packed)
	if err != nil {
		return fmt.Errorf("%w: that of run %s, which is kept, can't be stored: %w", ErrUnsaved, w.Run, err)
	}
	lock := "unsaved-" + w.ID
	info, err := json.Marshal(map[string]string{"ID": lock, "Operation": "store an unsaved state", "Who": by.Run})
	if err != nil {
		return fmt.Errorf("describing a lock: %w", err)
	}
	if err := s.Lock(ctx, uid, by, info); err != nil {
		return err
	}
	_, err = s.Write(ctx, uid, Claim{Holder: by, LockID: lock}, state)
	if err == nil {
		err = s.DropUnsaved(ctx, uid, w.ID)
	}
	if errors.Is(err, ErrConflict) || errors.Is(err, ErrOutdated) || errors.Is(err, ErrInvalid) {
		err = fmt.Errorf("%w: that of run %s, which is kept, can't be stored: %w", ErrUnsaved, w.Run, err)
	}
	return errors.Join(err, s.Unlock(ctx, uid, by, info))
}

// NoneUnsaved returns nil when no state waits, and an error that says which otherwise.
func (s *Service) NoneUnsaved(ctx context.Context, uid string) error {
	waiting, err := s.waiting(ctx, uid)
	if err != nil || len(waiting) == 0 {
		return err
	}
	w := waiting[0]
	return fmt.Errorf("%w: that of run %s (serial %d) is kept, and has to be stored first", ErrUnsaved, w.Run, w.Serial)
}

func (s *Service) waiting(ctx context.Context, uid string) ([]unsavedState, error) {
	last, err := s.unsaved(uid).newest(ctx)
	if err != nil {
		return nil, err
	}
	return decodeUnsaved(last)
}

func decodeUnsaved(r record) ([]unsavedState, error) {
	var u unsavedRecord
	if r.n == 0 {
		return nil, nil
	}
	if r.damaged != nil {
		return nil, fmt.Errorf("%w: the record of it: %w", ErrUnsaved, r.damaged)
	}
	if err := json.Unmarshal(r.data, &u); err != nil {
		// The error may quote what is secret.
		return nil, fmt.Errorf("%w: the record of it: %w", ErrUnsaved, ErrDamaged)
	}
	return u.Waiting, nil
}

func (s *Service) changeUnsaved(
	ctx context.Context, uid string, next func(waiting []unsavedState) ([]unsavedState, error),
) error {
	return s.apply(ctx, change{journal: s.unsaved(uid), keep: keepUnsaved, data: func(last record) ([]byte, error) {
		waiting, err := decodeUnsaved(last)
		if err != nil {
			return nil, err
		}
		if waiting, err = next(waiting); err != nil {
			return nil, err
		}
		return encodeUnsaved(waiting)
	}})
}

func encodeUnsaved(waiting []unsavedState) ([]byte, error) {
	b, err := json.Marshal(unsavedRecord{Nonce: rand.Text(), Waiting: waiting})
	if err != nil {
		return nil, fmt.Errorf("encoding the unsaved states: %w", err)
	}
	return b, nil
}

// unpackState reads what gzip has made of a state.
func unpackState(packed []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("%w: unpacking a state: %w", ErrInvalid, err)
	}
	state, err := io.ReadAll(io.LimitReader(r, maxState+1))
	if err != nil || len(state) > maxState {
		return nil, fmt.Errorf("%w: unpacking a state: it is broken, or larger than %d bytes", ErrInvalid, maxState)
	}
	return state, nil
}
