package state

import (
	"context"
	"errors"
	"fmt"
)

// State returns the newest state, or ErrNotFound when there is none.
func (s *Service) State(ctx context.Context, uid string) ([]byte, error) {
	_, data, err := s.Newest(ctx, uid)
	return data, err
}

// Newest is State that also tells which version it is.
func (s *Service) Newest(ctx context.Context, uid string) (Version, []byte, error) {
	j := s.states(uid)
	for range attempts {
		last, err := j.newest(ctx)
		if err != nil {
			return Version{}, nil, err
		}
		now, err := s.standing(j, last)
		if err != nil {
			return Version{}, nil, err
		}
		data, err := now.content(ctx)
		if errors.Is(err, errMoved) {
			continue
		}
		if err == nil && len(data) == 0 {
			err = fmt.Errorf("%s: %w", j.dir, ErrNotFound)
		}
		return now.head.Version, data, err
	}
	return Version{}, nil, ErrBusy
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
	return s.writeVersion(ctx, stateChange{uid: uid, next: func(now current) (Version, []byte, error) {
		// After the look at the newest version: whoever takes the lock over from now on puts a fence behind that one.
		if err := s.holds(ctx, uid, by); err != nil {
			return Version{}, nil, err
		}
		same, err := now.holds(ctx, v, data)
		if err != nil {
			return Version{}, nil, err
		}
		if same {
			return now.head.Version, nil, errSettled
		}
		return v, data, now.takes(v)
	}})
}

// Remove makes the state empty; the versions before it stay until they are pruned. The caller's Run must hold the lock
// (Terraform sends no lock ID here).
func (s *Service) Remove(ctx context.Context, uid string, by Holder) (Version, error) {
	return s.writeVersion(ctx, stateChange{uid: uid, next: func(now current) (Version, []byte, error) {
		if _, lock, err := s.newestLock(ctx, uid); err != nil {
			return Version{}, nil, err
		} else if !lock.heldBy(by) {
			return Version{}, nil, lock.refusal()
		}
		if now.head.Number > 0 && now.head.Size == 0 {
			return now.head.Version, nil, errSettled
		}
		return Version{Run: by.Run, Digest: digest(nil)}, nil, nil
	}})
}

// errSettled is returned by a version's maker when there is nothing to write.
var errSettled = errors.New("it is done already")

// stateChange is a version to be written.
type stateChange struct {
	uid string
	// next makes the version, of what is the newest now. It may be called again when somebody else was faster.
	next func(now current) (Version, []byte, error)
	// overDamage goes on behind versions that can't be read; otherwise they are a reason to refuse.
	overDamage bool
}

// writeVersion appends the version that is made of the newest one.
func (s *Service) writeVersion(ctx context.Context, c stateChange) (Version, error) {
	var v Version
	j, written := s.states(c.uid), false
	err := s.apply(ctx, change{journal: j, keep: s.KeepVersions, age: s.KeepAge, data: func(last record) ([]byte, error) {
		now, err := s.standing(j, last)
		if errors.Is(err, ErrDamaged) && c.overDamage {
			now, err = s.survey(ctx, j, last)
		}
		if err != nil {
			return nil, err
		}
		made, body, err := c.next(now)
		v, written = made, err == nil
		if err != nil {
			return nil, err
		}
		v.Number, v.At = last.n+1, s.Clock.Now().UTC()
		return encodeVersion(now.head.followedBy(v, s.KeepVersions), body)
	}})
	if err != nil {
		return Version{}, err
	}
	if written {
		s.metrics.version(versionWritten, 1)
	}
	return v, nil
}

// fence takes the place behind the newest version. A write by the lock's former holder that was allowed already, and is
// still on its way, then finds its place taken, and is not allowed when it looks again. Nothing else changes.
func (s *Service) fence(ctx context.Context, uid string) error {
	j := s.states(uid)
	err := s.apply(ctx, change{journal: j, keep: s.KeepVersions, age: s.KeepAge, data: func(last record) ([]byte, error) {
		head, _, err := decodeVersion(last)
		if errors.Is(err, ErrDamaged) && !errors.Is(err, errBehindFence) {
			now, surveyed := s.survey(ctx, j, last)
			head = now.head.followedBy(Version{Number: last.n, Damaged: err.Error()}, s.KeepVersions)
			err = surveyed
		}
		if err != nil && !errors.Is(err, errBehindFence) {
			return nil, err
		}
		return encodeFence(head)
	}})
	if err != nil {
		return fmt.Errorf("keeping the former holder out: %w", err)
	}
	return nil
}

// Version returns one version and its state, which is empty when the version is a removal.
func (s *Service) Version(ctx context.Context, uid string, number uint64) (Version, []byte, error) {
	if number == 0 {
		return Version{}, nil, fmt.Errorf("%w: versions count from 1", ErrInvalid)
	}
	j := s.states(uid)
	r, err := j.get(ctx, number)
	if err != nil {
		return Version{}, nil, err
	}
	head, data, err := decodeVersion(r)
	if err == nil && head.fence {
		err = fmt.Errorf("version %d: %w: a lock was taken over there", number, ErrNotFound)
	}
	return head.Version, data, err
}

// Outputs returns what PutOutputs stored last, or ErrNotFound.
func (s *Service) Outputs(ctx context.Context, uid string) ([]byte, error) {
	j := s.outputs(uid)
	r, err := j.newest(ctx)
	switch {
	case err != nil:
		return nil, err
	case r.damaged != nil:
		return nil, r.damaged
	case len(r.data) == 0:
		return nil, fmt.Errorf("%s: %w", j.dir, ErrNotFound)
	}
	return r.data, nil
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
