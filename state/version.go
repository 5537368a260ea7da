package state

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// State returns the newest state, or ErrNotFound when there is none.
func (s *Service) State(ctx context.Context, uid string) ([]byte, error) {
	_, data, err := s.Newest(ctx, uid)
	return data, err
}

// Newest is State that also tells which version it is.
func (s *Service) Newest(ctx context.Context, uid string) (Version, []byte, error) {
	j := s.states(uid)
	last, err := j.newest(ctx)
	if err != nil {
		return Version{}, nil, err
	}
	head, data, err := decodeVersion(last)
	if err == nil && len(data) == 0 {
		err = fmt.Errorf("%s: %w", j.dir, ErrNotFound)
	}
	return head.Version, data, err
}

// Write makes data the newest state. Only the holder of the lock may, naming the lock's ID. A request that was thought
// lost, was repeated and comes in late after all must not undo what was written since: states don't go back, as with
// Terraform's own state push. The first state, and the first after a removal, may be any.
func (s *Service) Write(ctx context.Context, uid string, by Claim, data []byte) (Version, error) {
	v, err := describe(data)
	if err != nil {
		return Version{}, err
	}
	v.Run = by.Run
	return s.writeVersion(ctx, uid, func(last versionHead, stored []byte) (Version, []byte, error) {
		// After the look at the newest version: whoever takes the lock over from now on puts a fence behind that one.
		if err := s.holds(ctx, uid, by); err != nil {
			return Version{}, nil, err
		}
		if len(stored) == 0 {
			return v, data, nil
		}
		if sameState(data, stored) {
			return last.Version, nil, errSettled
		}
		return v, data, succeeds(v, last.Version)
	})
}

// Remove makes the state empty; the versions before it stay until they are pruned. The caller's Run must hold the lock
// (Terraform sends no lock ID here).
func (s *Service) Remove(ctx context.Context, uid string, by Holder) (Version, error) {
	return s.writeVersion(ctx, uid, func(last versionHead, stored []byte) (Version, []byte, error) {
		if _, lock, err := s.newestLock(ctx, uid); err != nil {
			return Version{}, nil, err
		} else if !lock.heldBy(by) {
			return Version{}, nil, lock.refusal()
		}
		if last.Number > 0 && len(stored) == 0 {
			return last.Version, nil, errSettled
		}
		return Version{Run: by.Run, Digest: digest(nil)}, nil, nil
	})
}

// errSettled is returned by a version's maker when there is nothing to write.
var errSettled = errors.New("it is done already")

// writeVersion appends the version that next makes of the newest one.
func (s *Service) writeVersion(
	ctx context.Context, uid string, next func(last versionHead, stored []byte) (Version, []byte, error),
) (Version, error) {
	var v Version
	err := s.apply(ctx, change{journal: s.states(uid), keep: s.KeepVersions, age: s.KeepAge,
		data: func(last record) ([]byte, error) {
			head, stored, err := decodeVersion(last)
			if err != nil {
				return nil, err
			}
			made, body, err := next(head, stored)
			v = made
			if err != nil {
				return nil, err
			}
			v.Number, v.At = last.n+1, s.Clock.Now().UTC()
			return encodeVersion(head.followedBy(v, s.KeepVersions), body)
		}})
	if err != nil {
		return Version{}, err
	}
	return v, nil
}

// succeeds returns nil when a state may come after the stored one.
func succeeds(v, stored Version) error {
	kind := ErrConflict
	switch {
	case v.Lineage != stored.Lineage:
	case v.Serial < stored.Serial:
		kind = ErrOutdated
	case v.Serial > stored.Serial:
		return nil
	}
	return fmt.Errorf("%w: to be written: lineage %q, serial %d; stored as version %d: lineage %q, serial %d",
		kind, v.Lineage, v.Serial, stored.Number, stored.Lineage, stored.Serial)
}

// sameState tells whether two states differ in white space at most.
func sameState(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	var x, y bytes.Buffer
	return json.Compact(&x, a) == nil && json.Compact(&y, b) == nil && bytes.Equal(x.Bytes(), y.Bytes())
}

// Versions lists what is kept of a Workspace's state, the newest first. It reads the newest version alone, which
// describes those before it.
func (s *Service) Versions(ctx context.Context, uid string) ([]Version, error) {
	j := s.states(uid)
	last, err := j.newest(ctx)
	if err != nil || last.n == 0 {
		return nil, err
	}
	head, _, err := decodeVersion(last)
	if err != nil {
		return nil, err
	}
	numbers, err := j.list(ctx)
	if err != nil {
		return nil, err
	}
	known := map[uint64]Version{}
	for _, v := range append(head.Past, head.Version) {
		known[v.Number] = v
	}
	return s.describeAll(ctx, uid, numbers, known)
}

// describeAll describes numbers backwards, and reads those that are not known: from before versions were described.
func (s *Service) describeAll(
	ctx context.Context, uid string, numbers []uint64, known map[uint64]Version,
) ([]Version, error) {
	versions := make([]Version, 0, len(numbers))
	for _, n := range slices.Backward(numbers) {
		v, ok := known[n]
		if !ok {
			var err error
			if v, _, err = s.Version(ctx, uid, n); errors.Is(err, ErrNotFound) {
				continue // pruned meanwhile
			} else if err != nil {
				return nil, err
			}
		}
		versions = append(versions, v)
	}
	return versions, nil
}

// Version returns one version and its state, which is empty when the version is a removal.
func (s *Service) Version(ctx context.Context, uid string, number uint64) (Version, []byte, error) {
	if number == 0 {
		return Version{}, nil, fmt.Errorf("%w: versions count from 1", ErrInvalid)
	}
	r, err := s.states(uid).get(ctx, number)
	if err != nil {
		return Version{}, nil, err
	}
	head, data, err := decodeVersion(r)
	return head.Version, data, err
}

// A person's lock passes over by itself, for there is no Pod whose end would tell; a rollback ends long before.
const (
	rollbackTimeout = 20 * time.Second
	personalLock    = 2 * time.Minute
)

// Rollback makes an old version's content the newest state, with a serial above all others, under a lock of its own.
func (s *Service) Rollback(ctx context.Context, uid string, number uint64, by Actor) (Version, error) {
	ctx, cancel := context.WithTimeout(ctx, rollbackTimeout)
	defer cancel()
	old, data, err := s.Version(ctx, uid, number)
	if err != nil {
		return Version{}, err
	}
	if len(data) == 0 {
		return Version{}, fmt.Errorf("%w: version %d is a removal; there is no state to go back to", ErrInvalid, number)
	}
	claim, err := s.lockPersonally(ctx, uid, by, personally{operation: "rollback", allowed: func(now lockRecord) error {
		return s.passable(ctx, now)
	}})
	if err != nil {
		return Version{}, err
	}
	v, err := s.writeVersion(ctx, uid, func(last versionHead, _ []byte) (Version, []byte, error) {
		v := old
		v.Run, v.Person, v.Why, v.RollbackOf = "", by.Name, by.Why, number
		v.Serial = last.highestSerial() + 1
		body, err := withSerial(data, v.Serial)
		v.Size, v.Digest = len(body), digest(body)
		if err == nil {
			err = s.holds(ctx, uid, claim) // each time that it is tried
		}
		return v, body, err
	})
	return v, errors.Join(err, s.unlockPersonally(ctx, uid, claim, s.freeLock()))
}

// withSerial returns the state with another serial, and everything else as it is.
func withSerial(state []byte, serial uint64) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(state, &fields); err != nil {
		return nil, fmt.Errorf("%w: reading the state: %w", ErrInvalid, err)
	}
	fields["serial"] = fmt.Append(nil, serial)
	b, err := json.Marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("encoding the state: %w", err)
	}
	return b, nil
}

// Outputs returns what PutOutputs stored last, or ErrNotFound.
func (s *Service) Outputs(ctx context.Context, uid string) ([]byte, error) {
	j := s.outputs(uid)
	r, err := j.newest(ctx)
	if err == nil && len(r.data) == 0 {
		err = fmt.Errorf("%s: %w", j.dir, ErrNotFound)
	}
	return r.data, err
}

// PutOutputs replaces the outputs. Those that are the newest already were a request that was repeated.
func (s *Service) PutOutputs(ctx context.Context, uid string, data []byte) error {
	return s.applyFast(ctx, change{journal: s.outputs(uid), keep: keepOutputs,
		data: func(last record) ([]byte, error) {
			if last.holds(data) {
				return nil, errSettled
			}
			return data, nil
		}})
}
