package driver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// stateLimit is how long the proxy goes on trying for one request of Terraform's: a restart of the state service is
// shorter. When it is away for longer, Terraform leaves its state in a file, which the driver saves.
const stateLimit = 3 * time.Minute

// stateProxy stands between Terraform's http backend and the state service. Terraform talks plain HTTP over the
// loopback interface; the proxy adds what the backend can't do: a token that changes, a CA, retries. In passing it
// learns the outputs, the serial, and which lock is held.
type stateProxy struct {
	client *stateClient
	server *http.Server
	url    string
	// ctx outlives the Run's: a state that Terraform has handed over is saved even if both have been told to stop.
	ctx    context.Context
	cancel context.CancelFunc
	busy   sync.WaitGroup
	// first is what has to be answered before anything that Terraform asks.
	first atomic.Pointer[storing]
	// heartbeat is Terraform's, which rests while a request is on its way.
	heartbeat atomic.Pointer[heartbeat]
	// patience is how long it goes on trying for one request.
	patience time.Duration

	mu    sync.Mutex
	state snapshot
	lock  lockInfo
	// current is the answer to the next GET under the lock: nobody else can change the state then, and Terraform reads
	// it twice.
	current *answer
	// latest is the newest state that has gone by.
	latest []byte
	// writes counts the states that were stored.
	writes int
	// trouble is why the newest request failed, if it did, and class the state service's own word for it, if it has one.
	trouble string
	class   job.Class
}

// lockInfo is a lock as Terraform describes it.
type lockInfo struct {
	id   string
	body []byte
}

func startStateProxy(ctx context.Context, client *stateClient) (*stateProxy, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting state proxy: %w", err)
	}
	p := &stateProxy{
		client: client, url: "http://" + listener.Addr().String() + "/state", patience: client.patience,
	}
	p.ctx, p.cancel = context.WithCancel(ctx)
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = p.server.Serve(listener) }() // ends with close
	return p, nil
}

func (p *stateProxy) close() {
	p.cancel()
	_ = p.server.Close()
}

// env tells Terraform's http backend where the proxy is. It doesn't try again by itself: the proxy does.
func (p *stateProxy) env() map[string]string {
	return map[string]string{
		"TF_HTTP_ADDRESS":        p.url,
		"TF_HTTP_LOCK_ADDRESS":   p.url,
		"TF_HTTP_UNLOCK_ADDRESS": p.url,
		"TF_HTTP_LOCK_METHOD":    "LOCK",
		"TF_HTTP_UNLOCK_METHOD":  "UNLOCK",
		"TF_HTTP_RETRY_MAX":      "0",
	}
}

// ServeHTTP passes a request on. It doesn't end with the request's own context: Terraform may be dead already.
func (p *stateProxy) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	p.busy.Add(1)
	defer p.busy.Done()
	defer p.heartbeat.Load().owes()()
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	if err != nil {
		http.Error(w, "reading request", http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, p.patience)
	defer cancel()
	if err := p.awaitFirst(ctx); err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	a, err := p.send(ctx, request{method: req.Method, path: "/state", query: req.URL.RawQuery, body: body})
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // Terraform notices a short answer itself
}

// awaitFirst waits for what comes before anything of Terraform's, and returns why that can't follow.
func (p *stateProxy) awaitFirst(ctx context.Context) error {
	first := p.first.Load()
	if first == nil {
		return nil
	}
	select {
	case <-first.done:
		return first.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// send asks the state service and learns from what goes by.
func (p *stateProxy) send(ctx context.Context, r request) (answer, error) {
	if a := p.known(r); a != nil {
		return *a, nil
	}
	a, err := p.client.do(ctx, r)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trouble, p.class = troubleOf(a, err), a.class()
	if p.trouble == "" {
		p.learn(r, a)
	}
	return a, err
}

func (p *stateProxy) known(r request) *answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.method != http.MethodGet || p.lock.id == "" {
		return nil
	}
	return p.current
}

func troubleOf(a answer, err error) string {
	switch bad := a.err(); {
	case err != nil:
		return err.Error()
	case a.status == http.StatusLocked:
		return holder(a.body)
	case bad != nil:
		return "the state service answered " + bad.Error()
	}
	return ""
}

// lastTrouble is the remark for a message.
func (p *stateProxy) lastTrouble() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.trouble == "" {
		return ""
	}
	return " [" + p.trouble + "]"
}

// lastClass is the state service's own word for why the newest request failed; empty when it has none.
func (p *stateProxy) lastClass() job.Class {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.class
}

func (p *stateProxy) learn(r request, a answer) {
	switch r.method {
	case http.MethodGet:
		p.state, p.current = readSnapshot(a.body), &a
		p.latest = a.body
		p.client.log.secrets.learn(sensitive(p.state.outputs)...)
	case http.MethodPost:
		p.state, p.current = readSnapshot(r.body), &answer{http.StatusOK, r.body}
		p.latest = r.body
		p.writes++
		p.client.log.secrets.learn(sensitive(p.state.outputs)...)
	case "LOCK":
		p.lock, p.current = lockInfo{lockID(r.body), r.body}, nil
	case "UNLOCK":
		p.lock, p.current = lockInfo{}, nil
	}
}

// newest is the newest state that has gone by.
func (p *stateProxy) newest() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.latest
}

// stored tells how many states were stored so far.
func (p *stateProxy) stored() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.writes
}

// seen is what is known of the newest state.
func (p *stateProxy) seen() snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state
}

func (p *stateProxy) held() lockInfo {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lock
}

// settle waits until nothing is on its way any more.
func (p *stateProxy) settle(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		p.busy.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// unlock gives back a lock that a dead Terraform has left.
func (p *stateProxy) unlock(ctx context.Context) error {
	lock := p.held()
	if lock.id == "" {
		return nil
	}
	return p.tell(ctx, request{method: "UNLOCK", body: lock.body})
}

// push saves a state under the lock that is still held, or a new one.
func (p *stateProxy) push(ctx context.Context, state []byte) error {
	if p.held().id == "" {
		who := p.client.run
		info, err := json.Marshal(map[string]string{"ID": who + "-errored", "Operation": "push", "Who": who})
		if err != nil {
			return fmt.Errorf("describing lock: %w", err)
		}
		if err := p.tell(ctx, request{method: "LOCK", body: info}); err != nil {
			return fmt.Errorf("locking: %w", err)
		}
	}
	query := "ID=" + p.held().id
	return errors.Join(
		p.tell(ctx, request{method: http.MethodPost, query: query, body: state}),
		p.unlock(ctx))
}

func (p *stateProxy) tell(ctx context.Context, r request) error {
	r.path = "/state"
	a, err := p.send(ctx, r)
	if err != nil {
		return err
	}
	return a.err()
}

func lockID(info []byte) string {
	var lock struct{ ID string }
	_ = json.Unmarshal(info, &lock) // Terraform's own body; without an ID there is nothing to release
	return lock.ID
}

func holder(info []byte) string {
	var lock struct{ ID, Who, Operation, Created, Info string }
	switch {
	case json.Unmarshal(info, &lock) != nil || lock.ID == "":
		return "locked by somebody unknown"
	case lock.Info != "":
		return lock.Info // the state service says here which Run it is
	}
	who := "locked by " + lock.Who
	if lock.Operation != "" {
		who += " for " + lock.Operation
	}
	if lock.Created != "" {
		who += " since " + lock.Created
	}
	return who + ", lock " + lock.ID
}
