package state

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
)

// RepairOwner goes on behind records that can't be read of whose a Workspace's state is, and of who had its name. The
// Workspace is there, so a state that it has is its own; of one that it hasn't nobody can tell any more whether it was
// to begin with nothing, so that is asked again. Of a name the UIDs that were listed last are lost. It returns the
// store's keys of the records, which are kept.
func (s *Service) RepairOwner(ctx context.Context, o Owner, by Actor) ([]string, error) {
	names, err := s.repairRecords(ctx, repairing{
		journal: s.named(o.Namespace, o.Name), by: by,
		check: func(r record) error { _, err := decodeName(r); return err },
		again: func(r record) ([]byte, error) {
			now, err := decodeName(r)
			if err != nil {
				return nil, err
			}
			if !slices.Contains(now.UIDs, o.UID) {
				now.UIDs = append(now.UIDs, o.UID)
			}
			now.Version, now.Nonce = ownerVersion, rand.Text()
			return encode(now)
		},
	})
	if err != nil {
		return nil, err
	}
	_, _, absent := s.Newest(ctx, o.UID)
	owners, err := s.repairRecords(ctx, repairing{
		journal: s.owners(o.UID), by: by,
		check: func(r record) error { _, err := decodeOwner(r); return err },
		again: func(r record) ([]byte, error) {
			now, err := decodeOwner(r)
			if err != nil {
				return nil, err
			}
			if !now.Exists() && !errors.Is(absent, ErrNotFound) {
				now.Owner, now.Installation, now.Created = o, s.Installation, s.Clock.Now().UTC()
				now.Version = ownerVersion
			}
			now.Nonce = rand.Text()
			return encode(now)
		},
	})
	return append(names, owners...), err
}

// repairing is a journal whose newest record that can be read is to be said again.
type repairing struct {
	journal journal
	by      Actor
	check   func(r record) error
	again   func(r record) ([]byte, error)
}

// repairRecords returns the keys of the records that it went on behind.
func (s *Service) repairRecords(ctx context.Context, r repairing) ([]string, error) {
	var damaged []string
	err := s.apply(ctx, change{journal: r.journal, keep: keepOwners, data: func(last record) ([]byte, error) {
		damaged = nil
		readable, lost, err := r.journal.readable(ctx, last, r.check)
		if err != nil {
			return nil, err
		}
		if len(lost) == 0 {
			return nil, errSettled
		}
		for _, d := range lost {
			damaged = append(damaged, r.journal.key(d.n))
		}
		data, err := r.again(readable)
		return data, errors.Join(err, s.setAside(ctx, r.journal, lost, r.by))
	}})
	return damaged, err
}
