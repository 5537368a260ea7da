package state

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// current is what the newest record of a state's journal stands for.
type current struct {
	// head is of the newest version, or of the newest that can be read; it has no number when there is none.
	head versionHead
	// content reads the state, which is empty when there is none.
	content func(ctx context.Context) ([]byte, error)
	// damaged is why the newest version can't be read, and lost are all newer than head that can't, the newest first.
	damaged error
	lost    []damagedRecord
}

// holds tells whether the state is just this one, or differs in white space at most. It is only read where nothing else
// tells.
func (c current) holds(ctx context.Context, v Version, data []byte) (bool, error) {
	switch {
	case c.damaged != nil || c.head.Size == 0:
		return false, nil
	case v.Digest == c.head.Digest:
		return true, nil
	case v.Serial != c.head.Serial || v.Lineage != c.head.Lineage:
		return false, nil
	}
	stored, err := c.content(ctx)
	return err == nil && sameState(data, stored), err
}

// takes returns nil when a state may come after this one.
func (c current) takes(v Version) error {
	stored := c.head.Version
	kind := ErrConflict
	switch {
	case stored.Size == 0:
		return nil
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

// standing reads what a journal's newest record stands for.
func (s *Service) standing(j journal, last record) (current, error) {
	head, data, err := decodeVersion(last)
	if err != nil {
		return current{}, err
	}
	now := current{head: head, content: func(context.Context) ([]byte, error) { return data, nil }}
	if head.fence && head.Number > 0 {
		now.content = func(ctx context.Context) ([]byte, error) { return j.behind(ctx, last, head.Number) }
	}
	return now, nil
}

// behind reads the state that a fence stands for, or returns errMoved when the journal has gone on since.
func (j journal) behind(ctx context.Context, fence record, number uint64) ([]byte, error) {
	r, err := j.get(ctx, number)
	if err == nil {
		_, data, err := decodeVersion(r)
		return data, err
	}
	if !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	newest, err := j.newest(ctx)
	if err == nil {
		err = errMoved
		if newest.is(fence) {
			err = fmt.Errorf("%w: version %d is gone, which record %d stands for", ErrDamaged, number, fence.n)
		}
	}
	return nil, err
}

// survey is standing that looks behind what can't be read.
func (s *Service) survey(ctx context.Context, j journal, last record) (current, error) {
	readable, lost, err := j.readable(ctx, last, func(r record) error {
		now, err := s.standing(j, r)
		if err == nil && now.head.fence {
			if _, err = now.content(ctx); errors.Is(err, ErrDamaged) {
				err = fmt.Errorf("%w: %w", errBehindFence, err)
			}
		}
		return err
	})
	if err != nil {
		return current{}, err
	}
	now, err := s.standing(j, readable)
	if len(lost) > 0 {
		now.damaged = lost[0].why
	}
	// What a fence stands for is lost, not the fence.
	now.lost = slices.DeleteFunc(lost, func(d damagedRecord) bool { return errors.Is(d.why, errBehindFence) })
	return now, err
}
