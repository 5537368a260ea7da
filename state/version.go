package state

import (
	"context"
	"encoding/json"
	"fmt"
)

// State returns the newest state, or ErrNotFound when there is none.
func (s *Service) State(ctx context.Context, uid string) ([]byte, error) {
	return newestData(ctx, s.states(uid))
}

// Write makes data the newest state. Only the holder of the lock may, naming the lock's ID. A request that was thought
// lost, was repeated and comes in late after all must not undo what was written since: states don't go back.
func (s *Service) Write(ctx context.Context, uid string, by Claim, data []byte) error {
	if !json.Valid(data) {
		return fmt.Errorf("%w: a state is JSON", ErrInvalid)
	}
	if err := s.holds(ctx, uid, by); err != nil {
		return err
	}
	settled := func(last record) (bool, error) {
		if !last.holds(data) && outdated(data, last.data) {
			return false, ErrOutdated
		}
		return last.holds(data), nil
	}
	return s.apply(ctx, change{journal: s.states(uid), keep: keepStates, data: data, settled: settled})
}

// outdated tells whether a state is older than another of its own lineage.
func outdated(data, stored []byte) bool {
	type header struct {
		Lineage string `json:"lineage"`
		Serial  uint64 `json:"serial"`
	}
	var a, b header
	if json.Unmarshal(data, &a) != nil || json.Unmarshal(stored, &b) != nil {
		return false
	}
	return a.Lineage == b.Lineage && a.Serial < b.Serial
}

// Remove makes the state empty; the versions before it stay until they are pruned. The caller's Run must hold the lock
// (Terraform sends no lock ID here).
func (s *Service) Remove(ctx context.Context, uid string, by Holder) error {
	_, lock, err := s.newestLock(ctx, uid)
	if err != nil {
		return err
	}
	if !lock.heldBy(by) {
		return lock.refusal()
	}
	return s.apply(ctx, change{journal: s.states(uid), keep: keepStates, settled: isData(nil)})
}

// Outputs returns what PutOutputs stored last, or ErrNotFound.
func (s *Service) Outputs(ctx context.Context, uid string) ([]byte, error) {
	return newestData(ctx, s.outputs(uid))
}

// PutOutputs replaces the outputs.
func (s *Service) PutOutputs(ctx context.Context, uid string, data []byte) error {
	return s.applyFast(ctx, change{journal: s.outputs(uid), keep: keepOutputs, data: data, settled: isData(data)})
}

// isData settles a change whose data is the newest already: the request was repeated.
func isData(data []byte) func(record) (bool, error) {
	return func(last record) (bool, error) { return last.holds(data), nil }
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
