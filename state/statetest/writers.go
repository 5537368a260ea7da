package statetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/plumbline-dev/plumbline/state"
)

const (
	manyWriters = 200
	writerOdds  = 0.15
	// deathOdds is how often a writer dies while it holds the lock.
	deathOdds = 0.1
)

// ledger is a state that says which writes it holds.
type ledger struct {
	Lineage string   `json:"lineage"`
	Serial  uint64   `json:"serial"`
	Writes  []string `json:"writes"`
}

// contest is what the writers fight for.
type contest struct {
	*replicas
	t *testing.T

	mu        sync.Mutex
	inside    string   // who holds the lock, as far as clients know
	queue     []waiter // those who were refused
	epoch     int      // counts who let go
	acked     []state.Version
	ackedBy   map[string]bool
	refused   int
	conflicts int
	deaths    int
}

// writers is 200 Runs that each want to write once, through three replicas that are killed at random.
func writers(t *testing.T, store state.Store) {
	t.Helper()
	w := newWorld(store, 42, writerOdds)
	c := &contest{replicas: newReplicas(t.Context(), w, 3), t: t, ackedBy: map[string]bool{}}
	var wg sync.WaitGroup
	for i := range manyWriters {
		wg.Go(func() { c.write(t.Context(), fmt.Sprintf("writer-%03d", i)) })
	}
	wg.Wait()
	w.deliver(true)
	c.check(t.Context())
}

// write goes on until the writer has been told that its write is stored.
func (c *contest) write(ctx context.Context, name string) {
	for life := 0; ; life++ {
		run := fmt.Sprintf("%s-%d", name, life)
		c.lock(ctx, run)
		if c.world.roll() < deathOdds {
			c.die(run)
			continue
		}
		v, ok := c.attempt(ctx, run)
		if ok {
			c.ack(run, v)
		}
		c.leave(run)
		c.until(func() error { return c.pick().Unlock(ctx, workspace, holder(run), lockInfo(run)) })
		c.release()
		if ok {
			return
		}
	}
}

// lock asks again when somebody has let go.
func (c *contest) lock(ctx context.Context, run string) {
	for {
		epoch := c.now()
		err := c.pick().Lock(ctx, workspace, holder(run), lockInfo(run))
		if locked, ok := errors.AsType[*state.LockedError](err); ok {
			c.count(&c.refused)
			c.wake(locked.Holder.Run, 0) // it may have the lock by a request that came late, and not know
			<-c.wait(run, epoch)
			continue
		}
		if err == nil {
			c.enter(run)
			return
		}
	}
}

// attempt writes on top of what is there; false when a request of somebody before was still on its way and came first.
func (c *contest) attempt(ctx context.Context, run string) (state.Version, bool) {
	var now ledger
	c.until(func() error {
		data, err := c.pick().State(ctx, workspace)
		if errors.Is(err, state.ErrNotFound) {
			now = ledger{Lineage: "l"}
			return nil
		}
		if err != nil {
			return err
		}
		return json.Unmarshal(data, &now)
	})
	now.Serial++
	now.Writes = append(now.Writes, run)
	data, err := json.Marshal(now)
	if err != nil {
		c.t.Error(err)
	}
	var v state.Version
	conflict := false
	c.until(func() error {
		v, err = c.pick().Write(ctx, workspace, state.Claim{Holder: holder(run), LockID: run}, data)
		conflict = errors.Is(err, state.ErrConflict) || errors.Is(err, state.ErrOutdated)
		if errors.Is(err, state.ErrNotHolder) {
			c.t.Errorf("%s holds the lock and is refused: %v", run, err)
			return nil
		}
		if conflict {
			c.count(&c.conflicts)
			return nil
		}
		return err
	})
	return v, !conflict
}

// until repeats what has no clear answer, as the driver does.
func (c *contest) until(do func() error) {
	for do() != nil {
		if c.ctx.Err() != nil {
			c.t.Error("the test has ended")
			return
		}
	}
}

func (c *contest) enter(run string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inside != "" {
		c.t.Errorf("%s was given the lock while %s has it", run, c.inside)
	}
	c.inside = run
}

func (c *contest) leave(run string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inside != run {
		c.t.Errorf("%s had the lock, and then %s got in", run, c.inside)
	}
	c.inside = ""
}

func (c *contest) die(run string) {
	c.leave(run)
	c.count(&c.deaths)
	c.world.bury(run)
	c.release()
}

func (c *contest) ack(run string, v state.Version) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.acked, c.ackedBy[run] = append(c.acked, v), true
}

func (c *contest) count(n *int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*n++
}

// waiter is a Run that waits to be woken.
type waiter struct {
	run   string
	woken chan struct{}
}

// wakers is how many try at once when somebody lets go: enough for a race, and not so many that a server chokes on it.
const wakers = 4

func (c *contest) now() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.epoch
}

// wait queues the Run, unless somebody has let go since it asked.
func (c *contest) wait(run string, epoch int) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := waiter{run: run, woken: make(chan struct{})}
	if epoch != c.epoch {
		close(w.woken)
	} else {
		c.queue = append(c.queue, w)
	}
	return w.woken
}

// wake wakes this Run, and as many others.
func (c *contest) wake(run string, others int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = slices.DeleteFunc(c.queue, func(w waiter) bool {
		if w.run != run && others == 0 {
			return false
		}
		if w.run != run {
			others--
		}
		close(w.woken)
		return true
	})
}

func (c *contest) release() {
	c.mu.Lock()
	c.epoch++
	c.mu.Unlock()
	c.wake("", wakers)
}

// check looks at what is stored in the end.
func (c *contest) check(ctx context.Context) {
	var last ledger
	c.until(func() error {
		data, err := c.pick().State(ctx, workspace)
		if err != nil {
			return err
		}
		return json.Unmarshal(data, &last)
	})
	if len(c.acked) != manyWriters {
		c.t.Errorf("%d of %d writers were told that their write is stored", len(c.acked), manyWriters)
	}
	stored := slices.Clone(last.Writes)
	slices.Sort(stored)
	if n := len(slices.Compact(stored)); n != len(last.Writes) {
		c.t.Errorf("%d writes are stored twice", len(last.Writes)-n)
	}
	for run := range c.ackedBy {
		if _, ok := slices.BinarySearch(stored, run); !ok {
			c.t.Errorf("%s was told that its write is stored, and it is not", run)
		}
	}
	for i, v := range c.acked[1:] {
		if before := c.acked[i]; v.Serial <= before.Serial || v.Number <= before.Number {
			c.t.Errorf("version %d has serial %d, and version %d before it %d", v.Number, v.Serial, before.Number, before.Serial)
		}
	}
	c.t.Logf("%d writers, %d acknowledged, %d stored in the end, serial %d; %d replicas and %d holders killed, "+
		"%d times the lock was held by another, %d conflicts", manyWriters, len(c.acked), len(last.Writes), last.Serial,
		c.world.kills, c.deaths, c.refused, c.conflicts)
}
