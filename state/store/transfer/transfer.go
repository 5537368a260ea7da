// Package transfer copies a whole store into an empty one, as it is: sealed values stay sealed, and with the same key
// ring they are opened there too.
//
//	list the source -> copy what is missing, delete what went -> read it back -> again, until a look finds nothing to do
//
// While a copy goes on the destination is marked; a state service refuses to start on a store with that mark (see
// state.Prove), and the same copy goes on from where one before it ended.
package transfer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/plumbline-dev/plumbline/state"
)

var (
	// ErrOccupied is returned for a destination that holds something else than a copy of the source that was begun.
	ErrOccupied = errors.New("the destination isn't empty")
	// ErrChanging is returned for a source that changes all the time.
	ErrChanging = errors.New("the source changes while it is copied: stop the state service, and run it again")
	// ErrDiffers is returned for what isn't read back as it was written.
	ErrDiffers = errors.New("the destination returns something else than it was given")
)

const (
	// rounds is how often what has changed meanwhile is copied after it.
	rounds = 5
	// copiers work side by side; each holds a value of up to 64 MiB.
	copiers = 4
	// dataKeys are in every sealed store, and in no two the same.
	dataKeys = "seal/key/"
)

// Options say what is copied.
type Options struct {
	From, To state.Store
	// Say tells how it goes on; it may be nil.
	Say func(format string, args ...any)
}

// Report tells what was done.
type Report struct {
	// Values are how many there are in the copy, and Copied how many of them this call has written.
	Values, Copied int
	// Damaged are keys whose value the source can't read. In the copy they are damaged too: a newest version that were
	// missing there would make an old one the newest.
	Damaged []string
}

// placeholder can't be opened by anybody.
const placeholder = state.Sealed + "\x01"

// Copy makes the destination hold what the source holds. It may be called again after any failure.
func Copy(ctx context.Context, o Options) (Report, error) {
	if o.Say == nil {
		o.Say = func(string, ...any) {}
	}
	c := &copying{Options: o, checked: map[string]bool{}, damaged: map[string]bool{}}
	if err := c.begin(ctx); err != nil {
		return Report{}, err
	}
	for round := range rounds {
		changed, err := c.round(ctx)
		if err != nil {
			return c.report(), err
		}
		if changed == 0 && round > 0 {
			return c.report(), c.end(ctx)
		}
		o.Say("round %d: %d of %d values were copied or removed", round+1, changed, len(c.checked))
	}
	return c.report(), ErrChanging
}

type copying struct {
	Options
	mu sync.Mutex
	// checked are the keys that were read back, or compared, by this call.
	checked map[string]bool
	damaged map[string]bool
	copied  int
}

func (c *copying) report() Report {
	return Report{Values: len(c.checked), Copied: c.copied, Damaged: slices.Sorted(maps.Keys(c.damaged))}
}

// mark says whose copy was begun.
type mark struct {
	DataKey string `json:"dataKey"`
}

// begin marks the destination, or finds the mark of a copy of the same source.
func (c *copying) begin(ctx context.Context) error {
	keys, err := c.From.List(ctx, dataKeys)
	if err != nil {
		return fmt.Errorf("listing the source: %w", err)
	}
	var own mark
	if len(keys) > 0 {
		own.DataKey, _, _ = strings.Cut(strings.TrimPrefix(keys[0], dataKeys), "/") // the first there was
	}
	there, err := c.list(ctx, c.To)
	if err != nil {
		return fmt.Errorf("listing the destination: %w", err)
	}
	found, err := c.To.Get(ctx, state.CopyMark)
	switch {
	case err == nil:
		var before mark
		if json.Unmarshal(found, &before) != nil || before != own {
			return fmt.Errorf("%w: a copy of another store was begun there", ErrOccupied)
		}
		c.Say("going on with a copy that was begun: %d values are there", len(there))
		return nil
	case !errors.Is(err, state.ErrNotFound):
		return fmt.Errorf("looking at the destination: %w", err)
	case len(there) > 0:
		return fmt.Errorf("%w: %d values are there, such as %s; nothing was changed", ErrOccupied, len(there), there[0])
	}
	data, err := json.Marshal(own)
	if err != nil {
		return fmt.Errorf("encoding the mark: %w", err)
	}
	if err := c.To.Create(ctx, state.CopyMark, data); err != nil {
		return fmt.Errorf("marking the destination: %w", err)
	}
	return nil
}

func (c *copying) end(ctx context.Context) error {
	if err := c.To.Delete(ctx, state.CopyMark); err != nil {
		return fmt.Errorf("taking the mark off the destination: %w", err)
	}
	return nil
}

// list returns all that is to be copied: a service's probe isn't, and neither is the mark.
func (c *copying) list(ctx context.Context, s state.Store) ([]string, error) {
	keys, err := s.List(ctx, "")
	return slices.DeleteFunc(keys, func(key string) bool {
		return key == state.CopyMark || strings.HasPrefix(key, state.ProbeDir)
	}), err
}

// round brings the destination up to what the source holds now, and returns how many values it had to touch.
func (c *copying) round(ctx context.Context) (int, error) {
	from, err := c.list(ctx, c.From)
	if err != nil {
		return 0, fmt.Errorf("listing the source: %w", err)
	}
	to, err := c.list(ctx, c.To)
	if err != nil {
		return 0, fmt.Errorf("listing the destination: %w", err)
	}
	touched := 0
	for _, key := range to {
		if _, there := slices.BinarySearch(from, key); there {
			continue
		}
		if err := c.remove(ctx, key); err != nil {
			return touched, err
		}
		touched++
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(copiers)
	for _, key := range from {
		if c.checked[key] {
			continue
		}
		touched++
		group.Go(func() error { return c.value(ctx, key) })
	}
	return touched, group.Wait()
}

func (c *copying) remove(ctx context.Context, key string) error {
	if err := c.To.Delete(ctx, key); err != nil {
		return fmt.Errorf("removing %s from the destination: %w", key, err)
	}
	delete(c.checked, key)
	delete(c.damaged, key)
	return nil
}

// value copies one, and reads it back.
func (c *copying) value(ctx context.Context, key string) error {
	data, err := c.From.Get(ctx, key)
	damaged := errors.Is(err, state.ErrDamaged)
	switch {
	case damaged:
		c.Say("damaged: %s: %v", key, err)
		data = []byte(placeholder)
	case errors.Is(err, state.ErrNotFound):
		return nil // it went meanwhile
	case err != nil:
		return fmt.Errorf("reading %s from the source: %w", key, err)
	}
	written, err := c.write(ctx, key, data)
	if err != nil {
		return err
	}
	back, err := c.To.Get(ctx, key)
	if err != nil {
		return fmt.Errorf("reading %s back: %w", key, err)
	}
	if !bytes.Equal(back, data) {
		return fmt.Errorf("%w: %s", ErrDiffers, key)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.checked[key] = true
	if damaged {
		c.damaged[key] = true
	}
	if written {
		c.copied++
	}
	return nil
}

// write creates the value, in place of one that a copy before has left and that is another.
func (c *copying) write(ctx context.Context, key string, data []byte) (bool, error) {
	err := c.To.Create(ctx, key, data)
	if !errors.Is(err, state.ErrExists) {
		return err == nil, wrapped(err, "writing", key)
	}
	back, err := c.To.Get(ctx, key)
	if err == nil && bytes.Equal(back, data) {
		return false, nil
	}
	if err != nil && !errors.Is(err, state.ErrDamaged) {
		return false, wrapped(err, "reading what is there of", key)
	}
	if err := c.To.Delete(ctx, key); err != nil {
		return false, wrapped(err, "replacing", key)
	}
	return true, wrapped(c.To.Create(ctx, key, data), "writing", key)
}

func wrapped(err error, doing, key string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", doing, key, err)
}
