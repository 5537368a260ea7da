package seal

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tink-crypto/tink-go/v2/keyset"
)

// ErrMoved is returned by a Ring that was changed by somebody else meanwhile.
var ErrMoved = errors.New("the key ring was changed meanwhile")

const attempts = 5

// Status tells which keys there are.
type Status struct {
	Primary  uint32
	RingKeys []uint32
	DataKeys []DataKey
}

// DataKey is one of them, the newest last; Under are the keys of the ring that it is wrapped with.
type DataKey struct {
	ID    uint64
	Under []uint32
}

// Status returns which keys there are.
func (s *Store) Status(ctx context.Context) (Status, error) {
	r, err := s.ring(ctx)
	if err != nil {
		return Status{}, err
	}
	wraps, err := s.wraps(ctx)
	if err != nil {
		return Status{}, err
	}
	st := Status{Primary: r.primary(), RingKeys: r.ids()}
	for _, id := range sorted(wraps) {
		key := DataKey{ID: id}
		for _, w := range wraps[id] {
			key.Under = append(key.Under, w.ringKey)
		}
		st.DataKeys = append(st.DataKeys, key)
	}
	return st, nil
}

// Rotate puts a new primary key on the ring, and begins a new data key under it. The old ones are read with until they
// are pruned. Replicas that run learn of it when they meet the first value, and within refreshEvery in any case.
func (s *Store) Rotate(ctx context.Context) (Status, error) {
	r, err := s.changeRing(ctx, withNewPrimary)
	if err != nil {
		return Status{}, err
	}
	if err := s.newDataKey(ctx, r, 0); err != nil {
		return Status{}, err
	}
	if err := s.refresh(ctx); err != nil {
		return Status{}, err
	}
	return s.Status(ctx)
}

// Reseal wraps every data key with the ring's primary key, and with no other. The new wrap is there, and was tried,
// before an old one goes. It returns how many were wrapped anew.
func (s *Store) Reseal(ctx context.Context) (int, error) {
	r, err := s.ring(ctx)
	if err != nil {
		return 0, err
	}
	wraps, err := s.wraps(ctx)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, id := range sorted(wraps) {
		changed, err := s.rewrap(ctx, r, wraps[id])
		if err != nil {
			return n, err
		}
		if changed {
			n++
		}
	}
	return n, nil
}

func (s *Store) rewrap(ctx context.Context, r *ring, wraps []wrapped) (bool, error) {
	want := wrapped{dataKey: wraps[0].dataKey, ringKey: r.primary()}
	if len(wraps) == 1 && wraps[0] == want {
		return false, nil
	}
	handle, err := s.unwrap(ctx, r, wraps)
	if err != nil {
		return false, err
	}
	if err := s.wrap(ctx, r, want.dataKey, handle); err != nil {
		return false, err
	}
	if _, err := s.unwrap(ctx, r, []wrapped{want}); err != nil {
		return false, fmt.Errorf("trying a data key that was wrapped anew: %w", err)
	}
	for _, w := range wraps {
		if w == want {
			continue
		}
		if err := s.Store.Delete(ctx, w.name()); err != nil {
			return false, fmt.Errorf("deleting an old wrap: %w", err)
		}
	}
	return true, nil
}

// Prune takes all keys but the primary one off the ring, and refuses with ErrInUse while a data key is wrapped with one
// of them. It returns those that went.
func (s *Store) Prune(ctx context.Context) ([]uint32, error) {
	wraps, err := s.wraps(ctx)
	if err != nil {
		return nil, err
	}
	var gone []uint32
	_, err = s.changeRing(ctx, func(m *keyset.Manager) error {
		handle, err := m.Handle()
		if err != nil {
			return err
		}
		gone = nil
		for _, id := range (&ring{handle: handle}).ids() {
			if id == handle.KeysetInfo().GetPrimaryKeyId() {
				continue
			}
			if n := wrappedWith(wraps, id); n > 0 {
				return fmt.Errorf("%w: %d data keys are wrapped with key %d; run reseal first", ErrInUse, n, id)
			}
			if err := m.Delete(id); err != nil {
				return err
			}
			gone = append(gone, id)
		}
		return nil
	})
	return gone, err
}

func wrappedWith(wraps map[uint64][]wrapped, ringKey uint32) int {
	n := 0
	for _, ws := range wraps {
		if slices.ContainsFunc(ws, func(w wrapped) bool { return w.ringKey == ringKey }) {
			n++
		}
	}
	return n
}

func (s *Store) changeRing(ctx context.Context, change func(*keyset.Manager) error) (*ring, error) {
	for range attempts {
		old, err := s.Ring.Load(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading the key ring: %w", err)
		}
		r, err := decodeRing(old)
		if err != nil {
			return nil, err
		}
		if r, err = r.changed(change); err != nil {
			return nil, err
		}
		next, err := r.encode()
		if err != nil {
			return nil, err
		}
		if err := s.Ring.Replace(ctx, old, next); !errors.Is(err, ErrMoved) {
			return r, err
		}
	}
	return nil, ErrMoved
}
