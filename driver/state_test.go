package driver

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/driver/job"
)

func (b *bench) proxy() *stateProxy {
	client, err := newStateClient(b.cfg, &logWriter{out: b.log}, nil)
	b.must(err)
	p, err := startStateProxy(context.WithoutCancel(b.t.Context()), client)
	b.must(err)
	b.t.Cleanup(p.close)
	return p
}

// ask asks the proxy as Terraform would.
func (b *bench) ask(p *stateProxy, method, query, body string) (int, string) {
	req, err := http.NewRequestWithContext(b.t.Context(), method, p.url+query, strings.NewReader(body))
	b.must(err)
	resp, err := http.DefaultClient.Do(req)
	b.must(err)
	text, err := io.ReadAll(resp.Body)
	b.must(errors.Join(err, resp.Body.Close()))
	return resp.StatusCode, string(text)
}

const lock1, lock2 = `{"ID":"1","Who":"first"}`, `{"ID":"2","Who":"second"}`

func TestProxySpeaksTerraformsProtocol(t *testing.T) {
	b := newBench(t)
	p := b.proxy()
	steps := []struct {
		method, query, body string
		status              int
		answer, trouble     string
	}{
		{"GET", "", "", http.StatusNoContent, "", ""},
		{"LOCK", "", lock1, http.StatusOK, "", ""},
		{"LOCK", "", lock2, http.StatusLocked, lock1, " [locked by first, lock 1]"},
		{"POST", "?ID=2", "{}", http.StatusConflict, `{"error": "the lock is not yours"}`,
			" [the state service answered HTTP 409: the lock is not yours]"},
		{"GET", "", "", http.StatusNoContent, "", ""},
		{"GET", "", "", http.StatusNoContent, "", ""},
		{"POST", "?ID=1", stateOf(4), http.StatusOK, "", ""},
		{"GET", "", "", http.StatusOK, stateOf(4), ""},
		{"UNLOCK", "", lock1, http.StatusOK, "", ""},
		{"GET", "", "", http.StatusOK, stateOf(4), ""},
	}
	for _, step := range steps {
		status, answer := b.ask(p, step.method, step.query, step.body)
		if status != step.status || answer != step.answer {
			t.Errorf("%s%s: %d %s", step.method, step.query, status, answer)
		}
		if got := p.lastTrouble(); got != step.trouble {
			t.Errorf("%s%s: trouble %q, want %q", step.method, step.query, got, step.trouble)
		}
	}
	if asked := b.state.count("GET /state"); asked != 3 {
		t.Errorf("%d requests for the state: under the lock one is enough", asked)
	}
	if p.seen().serial != 4 || p.held().id != "" {
		t.Errorf("serial %d, lock %q", p.seen().serial, p.held().id)
	}
}

func TestProxyTriesAgain(t *testing.T) {
	for _, status := range []int{429, 502, 503, 504} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			b := newBench(t)
			b.state.answer = func(_, _ string, nth int) int {
				if nth < 4 {
					return status
				}
				return 0
			}
			if got, _ := b.ask(b.proxy(), "LOCK", "", lock1); got != http.StatusOK {
				t.Errorf("got %d", got)
			}
		})
	}
}

func TestProxyPassesErrorsOn(t *testing.T) {
	for _, status := range []int{401, 403, 409, 413, 500} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			b := newBench(t)
			b.state.answer = func(string, string, int) int { return status }
			if got, _ := b.ask(b.proxy(), "GET", "", ""); got != status || len(b.state.asked) != 1 {
				t.Errorf("got %d after %d requests", got, len(b.state.asked))
			}
		})
	}
}

// TestProxyReconnects: a connection that breaks is tried again, and the whole state arrives.
func TestProxyReconnects(t *testing.T) {
	b := newBench(t)
	var broken atomic.Int32
	serve := b.state.Config.Handler
	b.state.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if broken.Add(1) <= 2 {
			panic(http.ErrAbortHandler)
		}
		serve.ServeHTTP(w, req)
	})
	b.state.lock = lock1
	big := `{"serial": 5, "pad": "` + strings.Repeat("x", 20<<20) + `"}`
	if got, _ := b.ask(b.proxy(), "POST", "?ID=1", big); got != http.StatusOK || len(b.state.state) != len(big) {
		t.Errorf("got %d, %d bytes arrived", got, len(b.state.state))
	}
}

func TestProxyRereadsTheToken(t *testing.T) {
	b := newBench(t)
	p := b.proxy()
	b.must(os.WriteFile(b.cfg.Paths.Token, []byte("old"), 0o600))
	if got, _ := b.ask(p, "GET", "", ""); got != http.StatusUnauthorized {
		t.Errorf("got %d with an old token", got)
	}
	b.must(os.WriteFile(b.cfg.Paths.Token, []byte(testToken), 0o600))
	if got, _ := b.ask(p, "GET", "", ""); got != http.StatusNoContent {
		t.Errorf("got %d with a new token", got)
	}
}

func TestClientTrustsOnlyTheCA(t *testing.T) {
	b := newBench(t)
	b.cfg.Params.State.CA = "" // the system's
	client, err := newStateClient(b.cfg, &logWriter{out: b.log}, nil)
	b.must(err)
	_, err = client.once(t.Context(), request{method: "GET", path: "/state"})
	if unknown := (x509.UnknownAuthorityError{}); !errors.As(err, &unknown) {
		t.Errorf("error: %v", err)
	}
}

// TestStateOutlivesTerraform: a state that was handed over arrives although its sender is gone.
func TestStateOutlivesTerraform(t *testing.T) {
	b := newBench(t)
	b.state.lock = lock1
	arrived, goOn := make(chan struct{}), make(chan struct{})
	b.state.answer = func(_, _ string, nth int) int {
		if nth == 1 {
			close(arrived)
			<-goOn
			return http.StatusServiceUnavailable
		}
		return 0
	}
	p := b.proxy()
	ctx, kill := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+"?ID=1", strings.NewReader(stateOf(6)))
	b.must(err)
	go func() {
		<-arrived
		kill()
	}()
	if resp, err := http.DefaultClient.Do(req); err == nil {
		t.Fatalf("the sender was not killed but got %d, %v", resp.StatusCode, resp.Body.Close())
	}
	close(goOn)
	p.settle(t.Context())
	if !bytes.Equal(b.state.state, []byte(stateOf(6))) || p.seen().serial != 6 {
		t.Errorf("the state is %s", b.state.state)
	}
}

func TestHolder(t *testing.T) {
	tests := []struct{ info, want string }{
		{`{"ID": "1", "Who": "a@b", "Operation": "apply", "Created": "May"}`, "locked by a@b for apply since May, lock 1"},
		{`{"ID": "1", "Who": "a@b", "Info": "locked by run x"}`, "locked by run x"},
		{`<html>`, "locked by somebody unknown"},
	}
	for _, test := range tests {
		if got := holder([]byte(test.info)); got != test.want {
			t.Errorf("%s: %s", test.info, got)
		}
	}
}

func TestReadSnapshot(t *testing.T) {
	none := map[string]job.Output{}
	tests := []struct {
		name, state string
		want        snapshot
	}{
		{"no state", "", snapshot{outputs: none}},
		{"no outputs", `{"version": 4, "serial": 3, "outputs": {}, "resources": [`, snapshot{serial: 3, outputs: none}},
		{"outputs", stateOf(7), snapshot{serial: 7, lineage: "x", outputs: map[string]job.Output{
			"id":  {Type: []byte(`"string"`), Value: []byte(`"one"`)},
			"psk": {Type: []byte(`"string"`), Value: []byte(`"geheim"`), Sensitive: true},
		}}},
		{"checks", `{"serial": 3, "outputs": {}, "resources": [{"instances": [{"x": "\"check_results\": [1]"}]}],
			"check_results": [{"object_kind": "resource"}, {"object_kind": "check", "status": "fail"}]}`,
			snapshot{serial: 3, outputs: none, checks: true}},
		{"conditions of resources alone", `{"serial": 3, "outputs": {}, "check_results": [{"object_kind": "resource"}]}`,
			snapshot{serial: 3, outputs: none}},
		{"no results", `{"serial": 3, "outputs": {}, "resources": [], "check_results": null}`,
			snapshot{serial: 3, outputs: none}},
		{"outputs first", `{"outputs": {}, "resources": [{"serial": 1}], "serial": 8}`, snapshot{serial: 8, outputs: none}},
		{"encrypted", `{"serial": 2, "meta": {}, "encrypted_data": "AAA"}`, snapshot{serial: 2}},
		{"no JSON", `<html>`, snapshot{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := readSnapshot([]byte(test.state))
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(snapshot{})); diff != "" {
				t.Errorf("snapshot (-want +got):\n%s", diff)
			}
		})
	}
}
