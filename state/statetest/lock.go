package statetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"k8s.io/utils/clock"

	"github.com/plumbline-dev/plumbline/state"
)

const (
	lockClients = 5
	lockCalls   = 30
	lockOdds    = 0.15
	workspace   = "workspace-uid"
	// patience is how long the checker may think about one round.
	patience = time.Minute
)

// call is one of a client's: lock, unlock, look or die.
type call struct{ op, run, id string }

func (c call) who() string { return c.run + "/" + c.id }

// told is what the client heard: done, refused or unknown; and to a look, who holds the lock.
type told struct{ word, holder string }

// lockState is a lock as it should be: who holds it, and which Runs are dead.
type lockState struct{ holder, dead string }

func (s lockState) passes() bool {
	run, _, _ := strings.Cut(s.holder, "/")
	return s.holder == "" || strings.Contains(s.dead, run+";")
}

func (s lockState) with(holder string) lockState { return lockState{holder: holder, dead: s.dead} }

// model is a lock that one holds at a time, and that passes over when its holder is dead. A call without an answer may
// be done at any time later, or never.
var model = porcupine.NondeterministicModel{
	Init: func() []any { return []any{lockState{}} },
	Step: func(st, input, output any) []any { return step(st.(lockState), input.(call), output.(told)) },
}

// effect is what a call does to the lock, and whether it can.
func effect(s lockState, c call, t told) (lockState, bool) {
	switch c.op {
	case "die":
		return lockState{holder: s.holder, dead: s.dead + c.run + ";"}, true
	case "lock":
		return s.with(c.who()), s.passes() || s.holder == c.who()
	case "unlock":
		return s.with(""), s.holder == "" || s.holder == c.who()
	}
	return s, t.word != "done" || s.holder == t.holder
}

// step returns how the lock may stand after a call; nothing when the answer is impossible.
func step(s lockState, c call, t told) []any {
	after, can := effect(s, c, t)
	switch {
	case t.word == "unknown" && can:
		return []any{s, after}
	case t.word == "unknown", t.word == "refused" && !can:
		return []any{s}
	case t.word == "done" && can:
		return []any{after}
	}
	return nil
}

// history records calls and answers.
type history struct {
	mu    sync.Mutex
	calls []porcupine.Operation
	clock clock.PassiveClock
	start time.Time
}

func (h *history) now() int64 { return int64(h.clock.Since(h.start)) }

// never is when a call without an answer returns.
const never = int64(1) << 62

func (h *history) record(c call, do func() told) told {
	began := h.now()
	t := do()
	ended := h.now()
	if t.word == "unknown" {
		ended = never
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, porcupine.Operation{Input: c, Output: t, Call: began, Return: ended})
	return t
}

func linearizable(t *testing.T, rounds int, open func(t *testing.T) state.Store) {
	t.Helper()
	words, kills := map[string]int{}, 0
	for round := range rounds {
		w := newWorld(open(t), uint64(round), lockOdds)
		clk := clock.RealClock{}
		h := &history{clock: clk, start: clk.Now()}
		r := newReplicas(t.Context(), w, 3)
		var wg sync.WaitGroup
		for i := range lockClients {
			wg.Go(func() { (&lockClient{name: fmt.Sprint("client", i), replicas: r, history: h}).work(t.Context()) })
		}
		wg.Wait()
		w.deliver(true)
		for _, op := range h.calls {
			words[op.Input.(call).op+" "+op.Output.(told).word]++
		}
		kills += w.kills
		if got := porcupine.CheckOperationsTimeout(model.ToModel(), h.calls, patience); got != porcupine.Ok {
			t.Fatalf("round %d: the lock's history of %d calls is not linearizable: %s", round, len(h.calls), got)
		}
	}
	t.Logf("%d rounds, %d replicas killed, calls: %v", rounds, kills, words)
}

// lockClient is one Run after another, each of which locks, looks, unlocks or dies as it comes.
type lockClient struct {
	name     string
	replicas *replicas
	history  *history

	lives, locks int
	held         string // the lock that it has, or may have
}

func (c *lockClient) work(ctx context.Context) {
	for range lockCalls {
		switch roll := c.replicas.world.roll(); {
		case roll < 0.2:
			c.look(ctx)
		case roll < 0.25:
			c.die()
		case c.held == "":
			c.lock(ctx)
		default:
			c.unlock(ctx)
		}
	}
}

func (c *lockClient) run() string { return fmt.Sprintf("%s-%d", c.name, c.lives) }

func (c *lockClient) look(ctx context.Context) {
	c.history.record(call{op: "look"}, func() told {
		st, err := c.replicas.pick().LockStatus(ctx, workspace)
		t := answer(err)
		if st.Held && err == nil {
			t.holder = st.Holder.Run + "/" + st.ID
		}
		return t
	})
}

func (c *lockClient) die() {
	run := c.run()
	c.history.record(call{op: "die", run: run}, func() told {
		c.replicas.world.bury(run)
		return told{word: "done"}
	})
	c.lives, c.held = c.lives+1, ""
}

func (c *lockClient) lock(ctx context.Context) {
	c.locks++
	id, by := fmt.Sprint(c.locks), holder(c.run())
	t := c.history.record(call{op: "lock", run: c.run(), id: id}, func() told {
		return answer(c.replicas.pick().Lock(ctx, workspace, by, lockInfo(id)))
	})
	if t.word != "refused" {
		c.held = id
	}
}

func (c *lockClient) unlock(ctx context.Context) {
	id, by := c.held, holder(c.run())
	t := c.history.record(call{op: "unlock", run: c.run(), id: id}, func() told {
		return answer(c.replicas.pick().Unlock(ctx, workspace, by, lockInfo(id)))
	})
	if t.word != "unknown" {
		c.held = ""
	}
}

func holder(run string) state.Holder {
	return state.Holder{Namespace: "ns", Run: run, Pod: run, PodUID: run}
}

func lockInfo(id string) []byte { return fmt.Appendf(nil, `{"ID":%q,"Operation":"apply"}`, id) }

// answer puts an error into a word. Whatever isn't a clear refusal leaves the outcome open.
func answer(err error) told {
	_, locked := errors.AsType[*state.LockedError](err)
	switch {
	case err == nil:
		return told{word: "done"}
	case locked, errors.Is(err, state.ErrNotHolder):
		return told{word: "refused"}
	}
	return told{word: "unknown"}
}
