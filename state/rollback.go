package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// A person's lock passes over by itself, for there is no Pod whose end would tell; a rollback ends long before.
const (
	rollbackTimeout = 20 * time.Second
	personalLock    = 2 * time.Minute
)

// Rollback makes an old version's content the newest state, with a serial above all others, under a lock of its own. It
// doesn't mind versions in between that can't be read.
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
	next := func(now current) (Version, []byte, error) {
		if err := s.holds(ctx, uid, claim); err != nil { // each time that it is tried
			return Version{}, nil, err
		}
		if err := s.setAside(ctx, s.states(uid), now.lost, by); err != nil {
			return Version{}, nil, err
		}
		return now.again(old, data, by)
	}
	v, err := s.writeVersion(ctx, stateChange{uid: uid, overDamage: true, next: next})
	return v, errors.Join(err, s.unlockPersonally(ctx, uid, claim, s.freeLock()))
}

// again is a person's version with the content of an old one, and a serial above all others. A removal stays one.
func (c current) again(old Version, data []byte, by Actor) (Version, []byte, error) {
	v := Version{
		Serial: c.nextSerial(), Lineage: old.Lineage, RollbackOf: old.Number,
		Person: by.Name, Why: by.Why, Replaces: c.replaced(),
	}
	var err error
	if len(data) > 0 {
		data, err = withSerial(data, v.Serial)
	}
	v.Size, v.Digest = len(data), digest(data)
	return v, data, err
}

// replaced are the numbers of what can't be read.
func (c current) replaced() []uint64 {
	var numbers []uint64
	for _, d := range c.lost {
		numbers = append(numbers, d.n)
	}
	return numbers
}

// serialGap is left for each version that can't be read. Its serial isn't known: Terraform counts by one, a person's
// push may have gone further, and a plan that was made of it must not fit what goes on.
const serialGap = 100

// nextSerial is above all others.
func (c current) nextSerial() uint64 {
	next := c.head.highestSerial() + 1
	if c.damaged != nil {
		next += serialGap * uint64(max(1, len(c.lost)))
	}
	return next
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
