package state

import (
	"context"
	"errors"
	"slices"
)

// Versions lists what is kept of a Workspace's state, the newest first. It reads the newest version alone, which
// describes those before it. Versions that can't be read are listed as Damaged: the newest ones, and those that
// somebody has gone on behind.
func (s *Service) Versions(ctx context.Context, uid string) ([]Version, error) {
	j := s.states(uid)
	last, err := j.newest(ctx)
	if err != nil || last.n == 0 {
		return nil, err
	}
	now, err := s.standing(j, last)
	if errors.Is(err, ErrDamaged) {
		now, err = s.survey(ctx, j, last)
	}
	if err != nil {
		return nil, err
	}
	damaged, err := s.asideNumbers(ctx, j)
	if err != nil {
		return nil, err
	}
	for _, d := range now.lost {
		damaged[d.n] = d.why.Error()
	}
	numbers, err := j.list(ctx)
	if err != nil {
		return nil, err
	}
	return s.describeAll(ctx, uid, numbers, now.head.describing(damaged))
}

// described is what a head and notes say of a journal's records.
type described struct {
	known   map[uint64]Version
	damaged map[uint64]string
	lowest  uint64 // of those that are known
}

func (h versionHead) describing(damaged map[uint64]string) described {
	d := described{known: h.known(), damaged: damaged}
	for n := range d.known {
		if d.lowest == 0 || n < d.lowest {
			d.lowest = n
		}
	}
	return d
}

// describeAll describes numbers backwards, and reads those that are not known: from before versions were described.
func (s *Service) describeAll(ctx context.Context, uid string, numbers []uint64, d described) ([]Version, error) {
	versions := make([]Version, 0, len(numbers))
	for _, n := range slices.Backward(numbers) {
		v, ok := d.known[n]
		switch why, damaged := d.damaged[n]; {
		case damaged:
			v = Version{Number: n, Damaged: why}
		case !ok && n > d.lowest:
			continue // a fence
		case !ok:
			var err error
			v, _, err = s.Version(ctx, uid, n)
			if errors.Is(err, ErrNotFound) {
				continue // pruned meanwhile, or a fence
			}
			if errors.Is(err, ErrDamaged) {
				v, err = Version{Number: n, Damaged: err.Error()}, nil
			}
			if err != nil {
				return nil, err
			}
		}
		versions = append(versions, v)
	}
	return versions, nil
}
