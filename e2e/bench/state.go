package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"

	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/seal"
	"github.com/plumbline-dev/plumbline/state/server"
)

// stateSizes are the states that are written and read, and how often.
var stateSizes = []struct {
	name    string
	bytes   int
	samples int
}{
	{"10 KiB", 10 << 10, 15},
	{"1 MiB", 1 << 20, 9},
	{"20 MiB", 20 << 20, 3},
}

// states measures what the state service adds to its store: a state is written and read through the service (TLS, who
// may, lock, version, sealing), and the same bytes are put straight into the store and got back, by turns.
func (b *bench) states(ctx context.Context, r *report) (err error) {
	stores, closeAll, err := b.openStores(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	for _, s := range stores {
		if err := b.throughService(ctx, r, s); err != nil {
			return fmt.Errorf("measuring %s: %w", s.name, err)
		}
	}
	return nil
}

func (b *bench) throughService(ctx context.Context, r *report, s namedStore) error {
	service, err := serveStates(ctx, s.Store)
	if err != nil {
		return err
	}
	defer service.Close()
	for _, size := range stateSizes {
		b.say("a state of %s over %s, %d times ...", size.name, s.name, size.samples)
		var t turns
		for i := range size.samples + 1 {
			if err := t.take(ctx, service, s.Store, stateOf(service.serial(), size.bytes)); err != nil {
				return err
			}
			if i == 0 {
				t = turns{} // the first connects, and fills caches
			}
		}
		r.stateTurns(size.name+", "+s.name, t)
	}
	return nil
}

// turns are the samples of one size, in milliseconds.
type turns struct{ write, put, read, get []float64 }

// take writes and reads each way once.
func (t *turns) take(ctx context.Context, service *stateServer, store state.Store, data []byte) error {
	key := fmt.Sprintf("bench/%s/%d", service.id, service.count)
	return errors.Join(
		measured(&t.write, func() error { return service.ask(ctx, http.MethodPost, data) }),
		measured(&t.put, func() error { return store.Create(ctx, key, data) }),
		measured(&t.read, func() error { return service.ask(ctx, http.MethodGet, nil) }),
		measured(&t.get, func() error { _, err := store.Get(ctx, key); return err }),
		store.Delete(ctx, key),
	)
}

func measured(into *[]float64, do func() error) error {
	began := time.Now()
	err := do()
	*into = append(*into, float64(time.Since(began))/float64(time.Millisecond))
	return err
}

func (r *report) stateTurns(what string, t turns) {
	for _, way := range []struct {
		name         string
		ours, theirs []float64
	}{{"write", t.write, t.put}, {"read", t.read, t.get}} {
		r.Times = append(r.Times,
			timing{"state " + way.name + ", " + what + ": through the service", "ms", spreadOf(way.ours), nil},
			timing{"state " + way.name + ", " + what + ": straight", "ms", spreadOf(way.theirs), nil})
		r.Ratios = append(r.Ratios,
			compare{"state " + way.name + ", " + what + ": service / store", ratioOf(way.ours, way.theirs, 0)})
	}
}

// stateServer is a state service in this process, over a sealed store, with one Workspace whose lock is held.
type stateServer struct {
	*httptest.Server
	id    string
	count int
}

const benchLock = `{"ID":"bench","Operation":"OperationTypeApply"}`

func serveStates(ctx context.Context, store state.Store) (*stateServer, error) {
	quiet, clk := slog.New(slog.DiscardHandler), clock.RealClock{}
	s := &stateServer{id: fmt.Sprintf("bench-%d", clk.Now().UnixNano())}
	sealed, err := seal.Open(ctx, seal.Options{Store: store, Ring: &benchRing{}, Clock: clk, Log: quiet})
	if err != nil {
		return nil, err
	}
	who := benchGate{uid: s.id}
	service := state.New(state.Options{Store: sealed, Pods: who, Clock: clk, Log: quiet})
	go service.Maintain(ctx)
	s.Server = httptest.NewTLSServer(server.New(server.Options{
		Service: service, Gate: who, Reports: who, Clock: clk, Log: quiet, Metrics: prometheus.NewRegistry(),
	}).Handler())
	if err := s.ask(ctx, "LOCK", []byte(benchLock)); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// serial counts on.
func (s *stateServer) serial() int {
	s.count++
	return s.count
}

func (s *stateServer) ask(ctx context.Context, method string, body []byte) error {
	address := s.URL + "/v1/workspaces/bench/bench/state?ID=bench"
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("building the request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer bench")
	resp, err := s.Client().Do(req)
	if err != nil {
		return fmt.Errorf("asking the state service: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("asking the state service: %s %s", method, resp.Status)
	}
	return nil
}

// stateOf is a state of about that size: resources whose attributes differ, as they do.
func stateOf(serial, size int) []byte {
	rnd := rand.New(rand.NewPCG(uint64(serial), uint64(size))) //nolint:gosec // what differs, not what is secret
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"version":4,"serial":%d,"lineage":"bench","outputs":{},"resources":[`, serial)
	for n := 0; b.Len() < size; n++ {
		if n > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"mode":"managed","type":"terraform_data","name":"r%d","instances":[{"schema_version":0,`+
			`"attributes":{"id":"%016x%016x","input":{"value":"subnet-%08x","type":"string"},"output":null}}]}`,
			n, rnd.Uint64(), rnd.Uint64(), rnd.Uint32())
	}
	b.WriteString("]}")
	return b.Bytes()
}

// benchRing is a key ring in memory.
type benchRing struct{ data []byte }

func (r *benchRing) Load(context.Context) ([]byte, error) {
	if r.data == nil {
		return nil, state.ErrNotFound
	}
	return r.data, nil
}

func (r *benchRing) Create(_ context.Context, ring []byte) error {
	r.data = ring
	return nil
}

func (r *benchRing) Replace(context.Context, []byte, []byte) error { return seal.ErrMoved }

// benchGate knows one Run, which never ends. (A server remembers who a token is for ten seconds; asking the API server
// about each write isn't measured here.)
type benchGate struct{ uid string }

func (g benchGate) Identify(context.Context, string) (server.Identity, error) {
	return server.Identity{
		Namespace: "bench", Workspace: "bench", WorkspaceUID: g.uid, Run: "bench", Pod: "bench", PodUID: "bench",
	}, nil
}

func (g benchGate) Active(context.Context, server.Identity) error { return nil }

func (g benchGate) WorkspaceUID(context.Context, string, string) (string, error) { return g.uid, nil }

func (g benchGate) Report(context.Context, server.Identity, []byte) error { return nil }

func (g benchGate) Gone(context.Context, state.Holder) (bool, error) { return false, nil }
