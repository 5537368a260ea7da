package state

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What can't be read is kept. Whoever goes on behind a damaged record (a repair, a rollback, a forced push or unlock)
// first notes that in asideDir: what is noted there is never pruned, and stays where it is, so that it can be read
// again if what it lacks (a key, a piece) comes back.
//
//	damaged/<workspace's uid>/<journal's kind>/<number>
const asideDir = "damaged/"

func asideOf(uid string) string { return asideDir + uid + "/" }

// asideKey is where it is noted that a record is kept aside.
func (j journal) asideKey(n uint64) string {
	kind, uid, _ := strings.Cut(j.dir, "/")
	return fmt.Sprintf("%s%s/%012d", asideOf(uid), kind, n)
}

func (j journal) isAside(ctx context.Context, n uint64) (bool, error) {
	_, err := j.store.Get(ctx, j.asideKey(n))
	switch {
	case errors.Is(err, ErrNotFound):
		return false, nil
	case err == nil || errors.Is(err, ErrDamaged):
		return true, nil
	}
	return false, fmt.Errorf("looking whether %s is kept aside: %w", j.key(n), err)
}

// asideNote is who has gone on behind a damaged record, when and why.
type asideNote struct {
	At     time.Time `json:"at"`
	Person string    `json:"person"`
	Why    string    `json:"why,omitempty"`
	Error  string    `json:"error"`
}

// setAside notes records that can't be read, before anything goes on behind them.
func (s *Service) setAside(ctx context.Context, j journal, damaged []damagedRecord, by Actor) error {
	for _, d := range damaged {
		note, err := json.Marshal(asideNote{At: s.Clock.Now().UTC(), Person: by.Name, Why: by.Why, Error: d.why.Error()})
		if err != nil {
			return fmt.Errorf("encoding a note: %w", err)
		}
		if err := s.Store.Create(ctx, j.asideKey(d.n), note); err != nil && !errors.Is(err, ErrExists) {
			return fmt.Errorf("noting that %s is kept aside: %w", j.key(d.n), err)
		}
		s.Log.WarnContext(ctx, "a damaged record is kept aside", "record", j.key(d.n), "by", by.Name, "error", d.why)
	}
	return nil
}

// asideNumbers are the records of a journal that are kept aside, and why.
func (s *Service) asideNumbers(ctx context.Context, j journal) (map[uint64]string, error) {
	dir := strings.TrimSuffix(j.asideKey(0), fmt.Sprintf("%012d", 0))
	keys, err := s.Store.List(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", dir, err)
	}
	found := make(map[uint64]string, len(keys))
	for _, key := range keys {
		n, err := strconv.ParseUint(strings.TrimPrefix(key, dir), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("listing %s: a key that is no number: %w", dir, err)
		}
		note := asideNote{Error: ErrDamaged.Error()}
		if data, err := s.Store.Get(ctx, key); err == nil {
			_ = json.Unmarshal(data, &note) // then the bare words have to do
		}
		found[n] = note.Error
	}
	return found, nil
}

// damagedRecord is one that can't be read.
type damagedRecord struct {
	n   uint64
	why error
}

// Repaired tells what a repair has done.
type Repaired struct {
	// Damaged are the store's keys of the records that could not be read; they are kept.
	Damaged []string `json:"damaged"`
	// Version is the state that is the newest now; missing when the state needed no repair.
	Version *Version `json:"version,omitempty"`
}

// Repair goes on from what can be read: the newest such version of the state becomes the newest of all, with a serial
// above those that were lost; a lock whose record is damaged is taken from whoever has it; and outputs are those from
// before, if there are any, until a Run stores its own. It changes nothing where nothing is damaged.
func (s *Service) Repair(ctx context.Context, uid string, by Actor) (Repaired, error) {
	ctx, cancel := context.WithTimeout(ctx, rollbackTimeout)
	defer cancel()
	var lock []damagedRecord
	claim, err := s.lockPersonally(ctx, uid, by, personally{
		operation: "repair", overDamage: true, allowed: func(now lockRecord) error {
			if lock = now.lost; len(lock) > 0 {
				return nil
			}
			return s.passable(ctx, now)
		},
	})
	if err != nil {
		return Repaired{}, err
	}
	version, versions, err := s.repairState(ctx, uid, claim, by)
	var unsaved, made, outputs []damagedRecord
	if err == nil {
		unsaved, err = s.repairUnsaved(ctx, uid, by)
	}
	if err == nil {
		made, err = s.repairMade(ctx, uid, by)
	}
	if err == nil {
		outputs, err = s.repairOutputs(ctx, uid, by)
	}
	if err = errors.Join(err, s.unlockPersonally(ctx, uid, claim, s.freeLock())); err != nil {
		return Repaired{}, err
	}
	done := Repaired{Damaged: []string{}, Version: version}
	for _, found := range []struct {
		in   journal
		lost []damagedRecord
	}{
		{s.locks(uid), lock}, {s.states(uid), versions}, {s.unsaved(uid), unsaved}, {s.made(uid), made},
		{s.outputs(uid), outputs},
	} {
		for _, d := range found.lost {
			done.Damaged = append(done.Damaged, found.in.key(d.n))
		}
	}
	return done, nil
}

// repairState returns the version that it has written, none where nothing was damaged.
func (s *Service) repairState(
	ctx context.Context, uid string, claim Claim, by Actor,
) (*Version, []damagedRecord, error) {
	var lost []damagedRecord
	repaired := false
	next := func(now current) (Version, []byte, error) {
		if err := s.holds(ctx, uid, claim); err != nil {
			return Version{}, nil, err
		}
		lost, repaired = now.lost, now.damaged != nil
		if !repaired {
			return now.head.Version, nil, errSettled
		}
		if now.head.Number == 0 {
			return Version{}, nil, fmt.Errorf("%w, and neither can any version before it: push a state with --force",
				now.damaged)
		}
		data, err := now.content(ctx)
		if err != nil {
			return Version{}, nil, err
		}
		if err := s.setAside(ctx, s.states(uid), lost, by); err != nil {
			return Version{}, nil, err
		}
		return now.again(now.head.Version, data, by)
	}
	v, err := s.writeVersion(ctx, stateChange{uid: uid, overDamage: true, next: next})
	if !repaired {
		return nil, nil, err
	}
	return &v, lost, err
}

// repairOutputs puts the newest outputs that can be read, or none, behind those that can't be.
func (s *Service) repairOutputs(ctx context.Context, uid string, by Actor) ([]damagedRecord, error) {
	j := s.outputs(uid)
	var damaged []damagedRecord
	err := s.apply(ctx, change{journal: j, keep: keepOutputs, data: func(last record) ([]byte, error) {
		readable, lost, err := j.readable(ctx, last, func(r record) error { return r.damaged })
		if err != nil {
			return nil, err
		}
		if damaged = lost; len(lost) == 0 {
			return nil, errSettled
		}
		return readable.data, s.setAside(ctx, j, lost, by)
	}})
	return damaged, err
}

// repairUnsaved has nothing wait behind a record of which nobody can tell any more what waits. The one before it won't
// do: what that names may have been stored since.
func (s *Service) repairUnsaved(ctx context.Context, uid string, by Actor) ([]damagedRecord, error) {
	check := func(last record) error {
		_, err := decodeUnsaved(last)
		return err
	}
	nothing := func() ([]byte, error) { return encodeUnsaved(nil) }
	return s.beginAgain(ctx, blank{s.unsaved(uid), keepUnsaved, check, nothing}, by)
}

// repairMade does the same with what was made and stands in no state.
func (s *Service) repairMade(ctx context.Context, uid string, by Actor) ([]damagedRecord, error) {
	check := func(last record) error {
		_, err := decodeMade(last)
		return err
	}
	nothing := func() ([]byte, error) { return encodeMade(nil) }
	return s.beginAgain(ctx, blank{s.made(uid), keepMade, check, nothing}, by)
}

// blank is a journal that goes on with nothing behind a record that can't be read.
type blank struct {
	journal journal
	keep    int
	check   func(record) error
	nothing func() ([]byte, error)
}

func (s *Service) beginAgain(ctx context.Context, b blank, by Actor) ([]damagedRecord, error) {
	var damaged []damagedRecord
	err := s.apply(ctx, change{journal: b.journal, keep: b.keep, data: func(last record) ([]byte, error) {
		err := b.check(last)
		if !errors.Is(err, ErrDamaged) {
			return nil, cmp.Or(err, errSettled)
		}
		damaged = []damagedRecord{{last.n, err}}
		if err := s.setAside(ctx, b.journal, damaged, by); err != nil {
			return nil, err
		}
		return b.nothing()
	}})
	return damaged, err
}

// readable goes back from the newest record to the first that check has nothing against: the zero record when there is
// none. It also returns those on the way that can't be read, the newest first.
func (j journal) readable(
	ctx context.Context, last record, check func(record) error,
) (record, []damagedRecord, error) {
	err := check(last)
	if err == nil || !errors.Is(err, ErrDamaged) {
		return last, nil, err
	}
	lost := []damagedRecord{{last.n, err}}
	numbers, err := j.list(ctx)
	if err != nil {
		return record{}, nil, err
	}
	for _, n := range slices.Backward(numbers) {
		if n >= last.n {
			continue
		}
		r, err := j.get(ctx, n)
		if errors.Is(err, ErrNotFound) {
			continue // pruned meanwhile
		}
		if err == nil {
			err = check(r)
		}
		switch {
		case err == nil:
			return r, lost, nil
		case !errors.Is(err, ErrDamaged):
			return record{}, nil, err
		}
		lost = append(lost, damagedRecord{n, err})
	}
	return record{}, lost, nil
}
