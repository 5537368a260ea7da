// Package statetest shows that the state service keeps its promises over a store, whatever dies meanwhile.
//
//	clients (Runs, which may die) -> replicas (Services, which are killed) -> mortal -> the store that is tested
//
// A mortal store dies at a random request of its replica: before it, after it, or so that the request reaches the store
// much later, when everybody has forgotten about it. The replica's successor remembers nothing.
package statetest

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"k8s.io/utils/clock"

	"github.com/plumbline-dev/plumbline/state"
)

// Run runs everything; open returns an empty store. Rounds are of the lock's check: 40 where a request costs nothing, a
// few where it goes to a server.
func Run(t *testing.T, rounds int, open func(t *testing.T) state.Store) {
	t.Helper()
	t.Run("the lock is linearizable", func(t *testing.T) { linearizable(t, rounds, open) })
	t.Run("200 writers lose nothing", func(t *testing.T) { writers(t, open(t)) })
}

// errKilled is what a client sees of a replica that died: nothing, so the outcome is unknown.
var errKilled = errors.New("the replica was killed")

// world is what all replicas share.
type world struct {
	store state.Store
	odds  float64 // of dying at a request

	requests atomic.Int64

	mu    sync.Mutex
	rnd   *rand.Rand
	late  []func()
	kills int
	gone  map[string]bool // Pods
}

func newWorld(store state.Store, seed uint64, odds float64) *world {
	rnd := rand.New(rand.NewPCG(seed, seed)) //nolint:gosec // a seed makes it repeatable
	return &world{store: store, odds: odds, rnd: rnd, gone: map[string]bool{}}
}

func (w *world) roll() float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rnd.Float64()
}

const (
	// pauseOdds is how often a request waits while others make pauseFor of theirs, which is enough for records to be
	// pruned that it counts on; and pauseMost bounds the wait when there are no others.
	pauseOdds = 0.02
	pauseFor  = 300
	pauseMost = 3000
)

// dawdle lets others go first, so that requests meet in every order.
func (w *world) dawdle() {
	began := w.requests.Add(1)
	if w.roll() > pauseOdds {
		for range int(w.roll() * 8) {
			runtime.Gosched()
		}
		return
	}
	for i := 0; i < pauseMost && w.requests.Load() < began+pauseFor; i++ {
		runtime.Gosched()
	}
}

// Gone implements state.Pods.
func (w *world) Gone(_ context.Context, h state.Holder) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.gone[h.Pod], nil
}

func (w *world) bury(pod string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gone[pod] = true
}

// deliver lets a late request arrive now and then.
func (w *world) deliver(all bool) {
	for {
		w.mu.Lock()
		if len(w.late) == 0 || (!all && w.rnd.Float64() > 0.05) {
			w.mu.Unlock()
			return
		}
		i := w.rnd.IntN(len(w.late))
		request := w.late[i]
		w.late[i] = w.late[len(w.late)-1]
		w.late = w.late[:len(w.late)-1]
		w.mu.Unlock()
		request()
	}
}

// mortal is one replica's way to the store.
type mortal struct {
	world *world
	mu    sync.Mutex
	dead  bool
}

func (m *mortal) isDead() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dead
}

func (m *mortal) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
	m.world.mu.Lock()
	defer m.world.mu.Unlock()
	m.world.kills++
}

// request makes a request of the store, unless the replica dies of it.
func (m *mortal) request(do func() error) error {
	m.world.deliver(false)
	m.world.dawdle()
	if m.isDead() {
		return errKilled
	}
	if m.world.roll() >= m.world.odds {
		return do()
	}
	m.kill()
	switch roll := m.world.roll(); {
	case roll < 0.3:
	case roll < 0.6:
		_ = do()
	default:
		m.world.mu.Lock()
		m.world.late = append(m.world.late, func() { _ = do() })
		m.world.mu.Unlock()
	}
	return errKilled
}

// Create implements state.Store.
func (m *mortal) Create(ctx context.Context, key string, data []byte) error {
	return m.request(func() error { return m.world.store.Create(context.WithoutCancel(ctx), key, data) })
}

// Get implements state.Store.
func (m *mortal) Get(ctx context.Context, key string) (data []byte, err error) {
	m.world.dawdle()
	if m.isDead() {
		return nil, errKilled
	}
	return m.world.store.Get(ctx, key)
}

// List implements state.Store.
func (m *mortal) List(ctx context.Context, prefix string) ([]string, error) {
	m.world.dawdle()
	if m.isDead() {
		return nil, errKilled
	}
	return m.world.store.List(ctx, prefix)
}

// Delete implements state.Store.
func (m *mortal) Delete(ctx context.Context, key string) error {
	return m.request(func() error { return m.world.store.Delete(context.WithoutCancel(ctx), key) })
}

// replicas are servers side by side; one that died is replaced.
type replicas struct {
	world *world
	ctx   context.Context //nolint:containedctx // of the test, for the replicas' upkeep

	mu       sync.Mutex
	services []*state.Service
	stores   []*mortal
}

func newReplicas(ctx context.Context, w *world, n int) *replicas {
	return &replicas{world: w, ctx: ctx, services: make([]*state.Service, n), stores: make([]*mortal, n)}
}

// pick returns a replica that lives, at least for now.
func (r *replicas) pick() *state.Service {
	i := int(r.world.roll() * float64(len(r.services)))
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stores[i] == nil || r.stores[i].isDead() {
		r.stores[i] = &mortal{world: r.world}
		r.services[i] = state.New(state.Options{
			Store: r.stores[i], Pods: r.world, Clock: clock.RealClock{}, Log: slog.New(slog.DiscardHandler),
		})
		go r.services[i].Maintain(r.ctx)
	}
	return r.services[i]
}
