package state

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// What a Run has made and no stored state holds yet stands in the journal made/<uid>, by Run: address and ID, as the
// engine told them. The Run's driver writes it while it applies, and takes out what a state covers. Should it, or the
// engine, be killed, the next Run takes over what is left before it plans. A Workspace that has some isn't purged.

// ErrMade is returned for what must wait until a Run has taken over what stands in no state.
var ErrMade = errors.New("a run has made resources that stand in no state")

const (
	// MaxMade bounds what is noted of one Run.
	MaxMade  = 8 << 20
	keepMade = 2
)

// madeRecord is one record of the journal.
type madeRecord struct {
	// Nonce makes the record unlike any other, which journals rely on.
	Nonce string                     `json:"nonce"`
	Runs  map[string]json.RawMessage `json:"runs,omitempty"`
}

func (s *Service) made(uid string) journal { return s.journalAt("made/" + uid) }

// PutMade notes what a Run has made, a JSON list, in place of what was noted of it before; an empty one for nothing.
func (s *Service) PutMade(ctx context.Context, uid, run string, list []byte) error {
	var items []json.RawMessage
	if err := json.Unmarshal(list, &items); err != nil {
		return fmt.Errorf("%w: what was made is a JSON list", ErrInvalid)
	}
	return s.apply(ctx, change{journal: s.made(uid), keep: keepMade, data: func(last record) ([]byte, error) {
		now, err := decodeMade(last)
		if err != nil {
			return nil, err
		}
		_, there := now[run]
		next := maps.Clone(now)
		switch {
		case len(items) == 0 && !there:
			return nil, errSettled
		case len(items) == 0:
			delete(next, run)
		case next == nil:
			next = map[string]json.RawMessage{run: list}
		default:
			next[run] = list
		}
		return encodeMade(next)
	}})
}

// DropMade takes out what was noted of a Run: it was taken over, or a person gives it up. That it is gone is fine.
func (s *Service) DropMade(ctx context.Context, uid, run string) error {
	return s.PutMade(ctx, uid, run, []byte("[]"))
}

// Made is what Runs have made and no state holds, by Run; nil for nothing.
func (s *Service) Made(ctx context.Context, uid string) (map[string]json.RawMessage, error) {
	last, err := s.made(uid).newest(ctx)
	if err != nil {
		return nil, err
	}
	return decodeMade(last)
}

// NothingMade returns nil when nothing stands in no state, and an error that says of which Runs otherwise.
func (s *Service) NothingMade(ctx context.Context, uid string) error {
	runs, err := s.Made(ctx, uid)
	if err != nil || len(runs) == 0 {
		return err
	}
	return fmt.Errorf("%w, and the next run is to take over: %q", ErrMade, slices.Sorted(maps.Keys(runs)))
}

func decodeMade(r record) (map[string]json.RawMessage, error) {
	var m madeRecord
	if r.n == 0 {
		return nil, nil
	}
	if r.damaged != nil {
		return nil, fmt.Errorf("%w: the record of it: %w", ErrMade, r.damaged)
	}
	if err := json.Unmarshal(r.data, &m); err != nil {
		return nil, fmt.Errorf("%w: the record of it: %w", ErrMade, ErrDamaged)
	}
	return m.Runs, nil
}

func encodeMade(runs map[string]json.RawMessage) ([]byte, error) {
	b, err := json.Marshal(madeRecord{Nonce: rand.Text(), Runs: runs})
	if err != nil {
		return nil, fmt.Errorf("encoding what was made: %w", err)
	}
	return b, nil
}
