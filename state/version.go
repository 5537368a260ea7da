package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// State returns the newest state, or ErrNotFound when there is none.
func (s *Service) State(ctx context.Context, uid string) ([]byte, error) {
	return newestData(ctx, s.states(uid))
}

// Write makes data the newest state. Only the holder of the lock may, naming the lock's ID.
func (s *Service) Write(ctx context.Context, uid string, by Claim, data []byte) error {
	if !json.Valid(data) {
		return fmt.Errorf("%w: a state is JSON", ErrInvalid)
	}
	if err := s.holds(ctx, uid, by); err != nil {
		return err
	}
	return s.write(ctx, uid, data)
}

// Remove makes the state empty; the versions before it stay until they are pruned. The caller's Run must hold the lock
// (Terraform sends no lock ID here).
func (s *Service) Remove(ctx context.Context, uid string, by Holder) error {
	last, err := s.locks(uid).newest(ctx)
	if err != nil {
		return err
	}
	lock, err := decodeLock(last)
	if err != nil {
		return err
	}
	if !lock.heldBy(by) {
		return lock.refusal()
	}
	return s.write(ctx, uid, nil)
}

// write appends to what this server believes to be the newest state, which append makes sure of: so a state is not read
// just to write the next.
func (s *Service) write(ctx context.Context, uid string, data []byte) error {
	j := s.states(uid)
	if last, ok := j.hints.get(j.dir); ok && !last.holds(data) {
		r, err := j.append(ctx, last, data)
		if err == nil {
			s.pruneLater(j, r, keepStates)
		}
		if !errors.Is(err, errMoved) {
			return err
		}
	}
	return s.put(ctx, j, keepStates, data)
}

// Outputs returns what PutOutputs stored last, or ErrNotFound.
func (s *Service) Outputs(ctx context.Context, uid string) ([]byte, error) {
	return newestData(ctx, s.outputs(uid))
}

// PutOutputs replaces the outputs.
func (s *Service) PutOutputs(ctx context.Context, uid string, data []byte) error {
	return s.put(ctx, s.outputs(uid), keepOutputs, data)
}

// newestData returns the newest record's data; an empty one stands for what was removed.
func newestData(ctx context.Context, j journal) ([]byte, error) {
	r, err := j.newest(ctx)
	if err != nil {
		return nil, err
	}
	if len(r.data) == 0 {
		return nil, fmt.Errorf("%s: %w", j.dir, ErrNotFound)
	}
	return r.data, nil
}
