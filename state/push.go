package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// Pushed is a state that a person writes.
type Pushed struct {
	By   Actor
	Data []byte
	// Force writes a state of another lineage, or of a lower serial, all the same, also behind versions that can't be
	// read. Its serial is raised above all others, so that states don't go back and a write that was planned before can't
	// come after it.
	Force bool
}

// stateFormat is the one that Terraform has written since 0.12.
const stateFormat = 4

// Push makes a person's state the newest, under a lock of its own, by the rules of Terraform's own state push. The
// state that is stored already makes no version.
func (s *Service) Push(ctx context.Context, uid string, p Pushed) (Version, error) {
	ctx, cancel := context.WithTimeout(ctx, rollbackTimeout)
	defer cancel()
	v, err := describePushed(p)
	if err != nil {
		return Version{}, err
	}
	claim, err := s.lockPersonally(ctx, uid, p.By, personally{operation: "push", allowed: func(now lockRecord) error {
		return s.passable(ctx, now)
	}})
	if err != nil {
		return Version{}, err
	}
	written, err := s.writeVersion(ctx, stateChange{uid: uid, overDamage: p.Force,
		next: func(now current) (Version, []byte, error) {
			if err := s.holds(ctx, uid, claim); err != nil { // each time that it is tried
				return Version{}, nil, err
			}
			same, err := now.holds(ctx, v, p.Data)
			switch {
			case err != nil:
				return Version{}, nil, err
			case same:
				return now.head.Version, nil, errSettled
			case !p.Force || now.damaged == nil && now.head.Size == 0:
				return v, p.Data, now.takes(v)
			}
			if err := s.setAside(ctx, s.states(uid), now.lost, p.By); err != nil {
				return Version{}, nil, err
			}
			return now.forced(v, p.Data)
		}})
	return written, errors.Join(err, s.unlockPersonally(ctx, uid, claim, s.freeLock()))
}

// describePushed is stricter than describe: what a person hands in may be any file.
func describePushed(p Pushed) (Version, error) {
	v, err := describe(p.Data)
	if err != nil {
		return Version{}, err
	}
	var told struct {
		Version int `json:"version"`
	}
	if json.Unmarshal(p.Data, &told) != nil || told.Version != stateFormat || v.Lineage == "" {
		return Version{}, fmt.Errorf("%w: this is no Terraform state of format %d with a lineage", ErrInvalid, stateFormat)
	}
	v.Person, v.Why = p.By.Name, p.By.Why
	return v, nil
}

// forced is a version that may come after any, with a serial that is raised where it has to be.
func (c current) forced(v Version, data []byte) (Version, []byte, error) {
	v.Replaces = c.replaced()
	next := c.nextSerial()
	if v.Serial >= next {
		return v, data, nil
	}
	v.Serial = next
	body, err := withSerial(data, v.Serial)
	v.Size, v.Digest = len(body), digest(body)
	return v, body, err
}
