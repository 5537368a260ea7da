package state

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// journal is a row of records dir/1, dir/2, ... of which the newest counts. Appending n+1 after n is one Create, so it
// is a compare-and-swap, and a lock or a state that moves on needs neither an overwrite nor a delete that could race.
//
// Old records are pruned, so a number can become free again. Four rules keep a record that is made late, by a server
// that was paused, from ever being taken for the newest:
//
//   - records are pruned strictly from the lowest upwards, and before the first one goes a mark is left as record 0: a
//     journal without records 1 and 0 is empty for certain;
//   - whoever has appended n+1 looks whether n is still what it was: if not, n+1 was made long ago, and pruned;
//   - from a remembered record n one may go on to n+1, and when n+1 isn't there n is the newest: each time provided
//     that n is then still what it was;
//   - beyond that, what the store lists is the truth.
//
// A record that can't be read is there all the same: it is the newest one if none comes after it, and who may go on
// behind it is for the journal's owner to say (see damage.go).
//
// So the usual read and the usual append are two small requests by name each, of some 2 ms, also where the last one
// went to another server. A listing takes the API server about 90 ms when anything else was written just before,
// because its cache has to catch up.
type journal struct {
	store Store
	dir   string
	hints *hints
}

// record is one entry of a journal; the zero record stands before the first.
type record struct {
	n    uint64
	sum  [sha256.Size]byte
	data []byte
	// damaged is why the record can't be read: it is there, and has no data.
	damaged error
}

// is tells whether it is the record that it was when it was read before. One that can't be read any more still is.
func (r record) is(before record) bool {
	return r.n == before.n && (r.sum == before.sum || r.damaged != nil)
}

// holds tells whether the record's data is just this.
func (r record) holds(data []byte) bool { return r.n > 0 && r.sum == sha256.Sum256(data) }

// A walk from a hint to the newest record ends, in favour of a listing, when what it has read comes to maxWalk bytes;
// each step counts walkStep bytes for its time.
const (
	maxWalk  = 256 << 10
	walkStep = 32 << 10

	// lookAgain is how long to wait before a listing is asked for again; longer each time.
	lookAgain = 20 * time.Millisecond
)

var (
	// errMoved is returned by append when the journal had gone on before.
	errMoved = errors.New("the journal has moved on")
	// errUnclear is errMoved when so many went on since that nobody can tell any more whether the record came too late or
	// was the newest for a while.
	errUnclear = fmt.Errorf("%w so far that what became of the request is unclear", errMoved)
)

func (j journal) key(n uint64) string { return fmt.Sprintf("%s/%012d", j.dir, n) }

// newest returns the last record, or the zero record of an empty journal.
func (j journal) newest(ctx context.Context) (record, error) {
	if hint, ok := j.hints.get(j.dir); ok {
		if r, err := j.remembered(ctx, hint); err != nil || r.n > 0 {
			return r, err
		}
	} else if empty, err := j.empty(ctx); err != nil || empty {
		return record{}, err
	}
	return j.last(ctx)
}

// last finds the newest record by listing.
func (j journal) last(ctx context.Context) (record, error) {
	for try := range attempts {
		numbers, err := j.list(ctx)
		if err != nil || len(numbers) == 0 {
			return record{}, err
		}
		r, err := j.get(ctx, numbers[len(numbers)-1])
		if errors.Is(err, ErrNotFound) {
			// Pruned between the two reads, so there is a newer one, unless the store's listings lag behind.
			if err := pause(ctx, time.Duration(try+1)*lookAgain); err != nil {
				return record{}, err
			}
			continue
		}
		if err != nil {
			return record{}, err
		}
		j.hints.set(j.dir, r)
		return r, nil
	}
	return record{}, fmt.Errorf("%w: %s is listed with a newest record that isn't there", ErrBusy, j.dir)
}

// pause waits, or returns the reason why nobody waits any more.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// empty tells whether nothing was ever appended.
func (j journal) empty(ctx context.Context) (bool, error) {
	for _, n := range []uint64{1, 0} {
		if _, err := j.get(ctx, n); !errors.Is(err, ErrNotFound) {
			return false, err
		}
	}
	return true, nil
}

// remembered goes on from a hint to the newest record. It returns the zero record when the hint is of no use: it was
// pruned, or is so far behind that listing is quicker.
func (j journal) remembered(ctx context.Context, hint record) (record, error) {
	for r, size := hint, 0; size <= maxWalk; {
		next, err := j.find(ctx, r.n+1)
		if err != nil {
			return record{}, err
		}
		now, err := j.find(ctx, r.n)
		if err != nil || !now.is(r) {
			return record{}, err
		}
		if next.n == 0 {
			j.hints.set(j.dir, now)
			return now, nil
		}
		r, size = next, size+walkStep+len(next.data)
	}
	return record{}, nil
}

// find is get that returns the zero record for what isn't there.
func (j journal) find(ctx context.Context, n uint64) (record, error) {
	r, err := j.get(ctx, n)
	if errors.Is(err, ErrNotFound) {
		return record{}, nil
	}
	return r, err
}

// get returns a record, also one that can't be read, or ErrNotFound.
func (j journal) get(ctx context.Context, n uint64) (record, error) {
	data, err := j.store.Get(ctx, j.key(n))
	if err != nil {
		err = fmt.Errorf("reading %s: %w", j.key(n), err)
		if errors.Is(err, ErrDamaged) {
			return record{n: n, damaged: err}, nil
		}
		return record{}, err
	}
	return record{n: n, sum: sha256.Sum256(data), data: data}, nil
}

// list returns the numbers of all records but the mark, ascending.
func (j journal) list(ctx context.Context) ([]uint64, error) {
	keys, err := j.store.List(ctx, j.dir+"/")
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", j.dir, err)
	}
	numbers := make([]uint64, 0, len(keys))
	for _, key := range keys {
		n, err := strconv.ParseUint(strings.TrimPrefix(key, j.dir+"/"), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("listing %s: a key that is no number: %w", j.dir, err)
		}
		if n > 0 {
			numbers = append(numbers, n)
		}
	}
	return numbers, nil
}

// append adds data as the record after last, or returns errMoved when last isn't the newest any more. After any other
// error the record may stand; whoever repeats the request finds out.
func (j journal) append(ctx context.Context, last record, data []byte) (record, error) {
	next := record{n: last.n + 1, sum: sha256.Sum256(data), data: data}
	if err := j.store.Create(ctx, j.key(next.n), data); err != nil {
		if errors.Is(err, ErrExists) {
			return record{}, errMoved
		}
		return record{}, fmt.Errorf("writing %s: %w", j.key(next.n), err)
	}
	err := j.confirm(ctx, last)
	if errors.Is(err, errMoved) {
		return record{}, errors.Join(errUnclear, j.takeBack(ctx, next))
	}
	if err != nil {
		// It may well stand: whoever repeats the request finds it done.
		return record{}, err
	}
	j.hints.set(j.dir, next)
	return next, nil
}

// confirm returns errMoved when the record is not what it was, which means that it was pruned.
func (j journal) confirm(ctx context.Context, last record) error {
	if last.n == 0 {
		_, err := j.get(ctx, 0)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		return cmp.Or(err, errMoved)
	}
	now, err := j.find(ctx, last.n)
	if err == nil && !now.is(last) {
		return errMoved
	}
	return err
}

// takeBack removes a record that must not have been written.
func (j journal) takeBack(ctx context.Context, r record) error {
	j.hints.forget(j.dir)
	if err := j.store.Delete(ctx, j.key(r.n)); err != nil {
		return fmt.Errorf("taking %s back: %w", j.key(r.n), err)
	}
	return nil
}

// prune deletes all but the newest records, from the lowest upwards, and returns how many; it stops at the first that
// can't be deleted, and counts none then.
func (j journal) prune(ctx context.Context, keep int) (int, error) {
	numbers, err := j.list(ctx)
	if err != nil || len(numbers) <= keep {
		return 0, err
	}
	old := numbers[:len(numbers)-keep]
	if err := j.pruneOnly(ctx, old); err != nil {
		return 0, err
	}
	return len(old), nil
}

// pruneOnly deletes these records, the lowest that there are.
func (j journal) pruneOnly(ctx context.Context, numbers []uint64) error {
	if err := j.store.Create(ctx, j.key(0), nil); err != nil && !errors.Is(err, ErrExists) {
		return fmt.Errorf("marking %s: %w", j.dir, err)
	}
	return j.remove(ctx, numbers)
}

// erase deletes the whole journal, the mark last.
func (j journal) erase(ctx context.Context) error {
	numbers, err := j.list(ctx)
	if err != nil {
		return err
	}
	j.hints.forget(j.dir)
	return j.delete(ctx, append(numbers, 0))
}

// remove deletes records, but for those that are kept aside.
func (j journal) remove(ctx context.Context, numbers []uint64) error {
	for _, n := range numbers {
		kept, err := j.isAside(ctx, n)
		if err != nil {
			return err
		}
		if kept {
			continue
		}
		if err := j.delete(ctx, []uint64{n}); err != nil {
			return err
		}
	}
	return nil
}

func (j journal) delete(ctx context.Context, numbers []uint64) error {
	for _, n := range numbers {
		if err := j.store.Delete(ctx, j.key(n)); err != nil {
			return fmt.Errorf("deleting %s: %w", j.key(n), err)
		}
	}
	return nil
}
