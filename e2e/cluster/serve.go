package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/e2e/cluster/supervise"
)

// requestTimeout bounds one request to the supervisor: starting the API server is the longest.
const requestTimeout = time.Minute

// owner says whose cluster runs on the machine.
type owner struct {
	Checkout string `json:"checkout"`
	PID      int    `json:"pid"`
}

// Serve is the supervisor: it owns the components until it is asked to end. It runs detached from any terminal.
func Serve(ctx context.Context) error {
	l, err := here()
	if err != nil {
		return err
	}
	bin, err := readBinaries()
	if err != nil {
		return err
	}
	processes, err := components(l, bin)
	if err != nil {
		return err
	}
	supervisor, err := supervise.New(processes)
	if err != nil {
		return err
	}
	if err := enterCgroup(); err != nil {
		return err
	}
	return serve(ctx, l, supervisor)
}

func serve(ctx context.Context, l layout, supervisor *supervise.Supervisor) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", controlSocket())
	if err != nil {
		return fmt.Errorf("listening for requests: %w", err)
	}
	me, err := json.Marshal(owner{Checkout: l.checkout, PID: os.Getpid()})
	if err != nil {
		return err
	}
	if err := os.WriteFile(ownerFile(), me, 0o600); err != nil {
		return fmt.Errorf("saying whose the cluster is: %w", err)
	}
	server := &http.Server{Handler: handler(supervisor, cancel), ReadHeaderTimeout: requestTimeout}
	go func() { _ = server.Serve(listener) }()
	supervisor.Run(ctx)
	return server.Close()
}

func handler(supervisor *supervise.Supervisor, end func()) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(supervisor.Status())
	})
	mux.HandleFunc("POST /end", func(http.ResponseWriter, *http.Request) { end() })
	mux.HandleFunc("POST /components/{name}/{verb}", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		defer cancel()
		if err := act(ctx, supervisor, r.PathValue("verb"), r.PathValue("name")); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	})
	return mux
}

func act(ctx context.Context, supervisor *supervise.Supervisor, verb, name string) error {
	switch verb {
	case "start":
		return supervisor.Start(ctx, name)
	case "stop":
		return supervisor.Stop(ctx, name)
	case "kill":
		return supervisor.Kill(name)
	default:
		return fmt.Errorf("unknown verb %q: want start, stop or kill", verb)
	}
}

// control speaks to the supervisor.
type control struct{ client *http.Client }

func newControl() control {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", controlSocket())
	}
	return control{client: &http.Client{
		Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true},
		Timeout:   requestTimeout + 5*time.Second,
	}}
}

func (c control) status(ctx context.Context) ([]supervise.Status, error) {
	var list []supervise.Status
	return list, c.do(ctx, http.MethodGet, "/status", &list)
}

func (c control) end(ctx context.Context) error { return c.do(ctx, http.MethodPost, "/end", nil) }

func (c control) component(ctx context.Context, verb, name string) error {
	return c.do(ctx, http.MethodPost, "/components/"+name+"/"+verb, nil)
}

func (c control) do(ctx context.Context, method, path string, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, "http://supervisor"+path, nil)
	if err != nil {
		return err
	}
	response, err := c.client.Do(request)
	if err != nil {
		return fmt.Errorf("asking the cluster's supervisor: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		text := make([]byte, 1024)
		n, _ := response.Body.Read(text)
		return errors.New(strings.TrimSpace(string(text[:n])))
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(response.Body).Decode(into)
}

// running returns who runs a cluster now; false when nobody does, whatever may be left of an earlier one.
// A cluster whose checkout was deleted belongs to nobody: it is a leftover too.
func running(ctx context.Context) (owner, bool) {
	text, err := os.ReadFile(ownerFile())
	if err != nil {
		return owner{}, false
	}
	var o owner
	if json.Unmarshal(text, &o) != nil || !exists(o.Checkout) || !exists("/proc/"+strconv.Itoa(o.PID)) {
		return owner{}, false
	}
	_, err = newControl().status(ctx)
	return o, err == nil
}

func discard(string, ...any) {}
