package server

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/store/memory"
)

// gate knows the tokens "<namespace>/<workspace>/<run>" and "controller".
type gate struct {
	over     map[string]bool
	gone     map[string]bool
	down     error
	reported []string
}

func (g *gate) Identify(_ context.Context, token string) (Identity, error) {
	if g.down != nil {
		return Identity{}, g.down
	}
	if token == "controller" {
		return Identity{Controller: true}, nil
	}
	p := strings.Split(token, "/")
	if len(p) != 3 {
		return Identity{}, ErrUnauthenticated
	}
	return Identity{
		Namespace: p[0], Workspace: p[1], WorkspaceUID: p[0] + "-" + p[1],
		Run: p[2], RunUID: "uid-" + p[2], Pod: p[2], PodUID: p[2],
	}, nil
}

func (g *gate) Active(_ context.Context, id Identity) error {
	if g.over[id.Run] {
		return errOver(id.Run)
	}
	return nil
}

func (g *gate) WorkspaceUID(_ context.Context, namespace, name string) (string, error) {
	if name == "none" {
		return "", state.ErrNotFound
	}
	return namespace + "-" + name, nil
}

func (g *gate) Report(_ context.Context, id Identity, result []byte) error {
	g.reported = append(g.reported, id.Run+" "+string(result))
	return nil
}

func (g *gate) Gone(_ context.Context, h state.Holder) (bool, error) { return g.gone[h.Run], nil }

// failing is a store that is down.
type failing struct{ state.Store }

func (failing) Get(context.Context, string) ([]byte, error) {
	return nil, errors.New("10.0.0.1 is down")
}

func newServer(g *gate, store state.Store, log *slog.Logger) *Server {
	clk := clocktesting.NewFakeClock(start)
	return New(Options{
		Service: state.New(state.Options{Store: store, Pods: g, Clock: clk, Log: log}),
		Gate:    g, Reports: g, Clock: clk, Log: log, Metrics: prometheus.NewRegistry(),
	})
}

// exchange is one request and what is to come back; "" for a body means that any will do.
type exchange struct {
	token, method, path, body string
	status                    int
	answer                    string
}

const (
	ws      = "/v1/workspaces/ns/ws"
	st      = ws + "/state"
	lock1   = `{"ID":"1","Operation":"OperationTypeApply","Info":"","Who":"x"}`
	oneRun  = "ns/ws/a"
	other   = "ns/ws/b"
	success = `{"version":1,"run":"a","class":"Applied"}`
)

func do(t *testing.T, h http.Handler, e exchange) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequest(e.method, e.path, strings.NewReader(e.body))
	if e.token != "" {
		req.Header.Set("Authorization", "Bearer "+e.token)
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	return rec
}

func TestAPI(t *testing.T) {
	for _, test := range []struct {
		name      string
		exchanges []exchange
	}{
		{"a state's life", []exchange{
			{oneRun, "GET", st, "", 204, ""},
			{oneRun, "LOCK", st, lock1, 200, ""},
			{oneRun, "POST", st + "?ID=1", `{"serial":1}`, 200, ""},
			{oneRun, "GET", st, "", 200, `{"serial":1}`},
			{oneRun, "DELETE", st, "", 200, ""},
			{oneRun, "GET", st, "", 204, ""},
			{oneRun, "UNLOCK", st, lock1, 200, ""},
		}},
		{"a lock that is held", []exchange{
			{oneRun, "LOCK", st, lock1, 200, ""},
			{other, "LOCK", st, `{"ID":"2"}`, 423,
				`{"ID":"1","Info":"locked by run ns/a in pod a since ` + sinceStart + `; it is released by itself when that Pod ` +
					`has ended or its node is removed from the cluster, or by: plumbline state unlock ws",` +
					`"Operation":"OperationTypeApply","Who":"x"}`},
			{other, "POST", st + "?ID=2", `{}`, 409, ""},
			{other, "POST", st, `{}`, 409, ""},
			{other, "UNLOCK", st, lock1, 409, ""},
			{other, "DELETE", st, "", 409, ""},
			{"controller", "DELETE", ws + "?uid=ns-ws", "", 409, ""},
		}},
		{"whose is whose", []exchange{
			{"ns/other/a", "GET", st, "", 403, ""},
			{"elsewhere/ws/a", "GET", st, "", 403, ""},
			{"elsewhere/ws/a", "LOCK", st, lock1, 403, ""},
			{"controller", "GET", st, "", 403, ""},
			{"controller", "LOCK", st, lock1, 403, ""},
			{oneRun, "DELETE", ws + "?uid=ns-ws", "", 403, ""},
			{"", "GET", st, "", 401, ""},
			{"rubbish", "GET", st, "", 401, ""},
		}},
		{"a run that is over", []exchange{
			{"ns/ws/over", "LOCK", st, lock1, 403, ""},
			{"ns/ws/over", "POST", st + "?ID=1", `{}`, 403, ""},
			{"ns/ws/over", "DELETE", st, "", 403, ""},
			{"ns/ws/over", "PUT", ws + "/outputs", `{}`, 403, ""},
			{"ns/ws/over", "UNLOCK", st, lock1, 200, ""},
		}},
		{"outputs", []exchange{
			{"controller", "GET", ws + "/outputs", "", 404, ""},
			{"controller", "GET", "/v1/workspaces/ns/none/outputs", "", 404, ""},
			{oneRun, "PUT", ws + "/outputs", `{"o":{"sensitive":true,"value":"${x}"}}`, 200, ""},
			{oneRun, "GET", ws + "/outputs", "", 200, `{"o":{"sensitive":true,"value":"${x}"}}`},
			{"controller", "GET", ws + "/outputs", "", 200, `{"o":{"sensitive":true,"value":"${x}"}}`},
			{"ns/other/a", "GET", ws + "/outputs", "", 403, ""},
			{oneRun, "PUT", ws + "/outputs", `[]`, 400, ""},
			{"controller", "PUT", ws + "/outputs", `{}`, 403, ""},
			{"controller", "DELETE", ws + "?uid=ns-ws", "", 200, ""},
			{"controller", "DELETE", ws + "?uid=ns-ws", "", 404, ""},
			{"controller", "DELETE", ws, "", 400, ""},
		}},
		{"results", []exchange{
			{oneRun, "PUT", ws + "/runs/a/result", success, 200, ""},
			{oneRun, "PUT", ws + "/runs/b/result", success, 403, ""},
			{oneRun, "PUT", ws + "/runs/a/result", `{"run":"a"}`, 400, ""},
			{oneRun, "PUT", ws + "/runs/a/result", strings.Repeat(" ", 4097), 413, ""},
		}},
		{"what isn't there", []exchange{
			{oneRun, "GET", "/v1/other", "", 400, ""},
			{oneRun, "GET", ws + "/State", "", 400, ""},
			{oneRun, "PATCH", st, "", 400, ""},
		}},
		{"what is too large", []exchange{
			{oneRun, "LOCK", st, strings.Repeat(" ", maxSmall+1), 413, ""},
			{oneRun, "POST", st, strings.Repeat(" ", maxState+1), 413, ""},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newServer(&gate{over: map[string]bool{"over": true}}, &memory.Store{}, slog.New(slog.DiscardHandler)).Handler()
			for i, e := range test.exchanges {
				rec := do(t, h, e)
				if rec.Code != e.status || (e.answer != "" && rec.Body.String() != e.answer) {
					t.Fatalf("%d: %s %s: got %d %s, want %d %s", i, e.method, e.path, rec.Code, rec.Body, e.status, e.answer)
				}
				var told struct{ Error string }
				if e.status >= 400 && e.status != 423 &&
					(json.Unmarshal(rec.Body.Bytes(), &told) != nil || told.Error == "") {
					t.Errorf("%d: %s %s: %d says nothing: %q", i, e.method, e.path, rec.Code, rec.Body)
				}
			}
		})
	}
}

func TestWhatIsAwayIsA503(t *testing.T) {
	for name, s := range map[string]*Server{
		"store":      newServer(&gate{}, failing{}, slog.New(slog.DiscardHandler)),
		"API server": newServer(&gate{down: errors.New("10.0.0.1 is down")}, &memory.Store{}, slog.New(slog.DiscardHandler)),
		"deadline":   newServer(&gate{down: context.DeadlineExceeded}, &memory.Store{}, slog.New(slog.DiscardHandler)),
	} {
		for _, e := range []exchange{
			{token: oneRun, method: "GET", path: st}, {token: oneRun, method: "LOCK", path: st, body: lock1},
			{token: oneRun, method: "UNLOCK", path: st, body: lock1}, {token: oneRun, method: "GET", path: ws + "/outputs"},
			{token: "controller", method: "DELETE", path: ws + "?uid=u"},
		} {
			rec := do(t, s.Handler(), e)
			if rec.Code != 503 || rec.Header().Get("Retry-After") == "" || strings.Contains(rec.Body.String(), "10.0.0.1") {
				t.Errorf("%s: %s %s: got %d %s, want a 503 that tells nothing of the inside",
					name, e.method, e.path, rec.Code, rec.Body)
			}
		}
	}
}

func TestDamagedBodyIsRefused(t *testing.T) {
	h := newServer(&gate{}, &memory.Store{}, slog.New(slog.DiscardHandler)).Handler()
	do(t, h, exchange{token: oneRun, method: "LOCK", path: st, body: lock1})
	sum := md5.Sum([]byte(`{"serial":1}`))
	for body, want := range map[string]int{`{"serial":1}`: 200, `{"serial":2}`: 400} {
		req := httptest.NewRequest(http.MethodPost, st+"?ID=1", strings.NewReader(body))
		req.Header.Set("Authorization", "Bearer "+oneRun)
		req.Header.Set("Content-MD5", base64.StdEncoding.EncodeToString(sum[:]))
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, req)
		if rec.Code != want {
			t.Errorf("body %s: got %d, want %d", body, rec.Code, want)
		}
	}
}

// A body that breaks off must not become a state.
func TestBrokenOffBodyIsNotStored(t *testing.T) {
	h := newServer(&gate{}, &memory.Store{}, slog.New(slog.DiscardHandler)).Handler()
	do(t, h, exchange{token: oneRun, method: "LOCK", path: st, body: lock1})
	req := httptest.NewRequest(http.MethodPost, st+"?ID=1", io.MultiReader(strings.NewReader(`{}`), brokenReader{}))
	req.Header.Set("Authorization", "Bearer "+oneRun)
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	if rec.Code != 400 {
		t.Errorf("got %d, want 400", rec.Code)
	}
	if rec := do(t, h, exchange{token: oneRun, method: "GET", path: st}); rec.Code != 204 {
		t.Errorf("reading: got %d, want 204, no state", rec.Code)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func wantAudit(t *testing.T, line, want string) {
	t.Helper()
	var told struct{ Action, Outcome, Who, WorkspaceUID string }
	if err := json.Unmarshal([]byte(line), &told); err != nil || fmt.Sprint(told) != want {
		t.Errorf("the audit says %s (%v), want %s", line, err, want)
	}
}

func TestTheControllerManagesLocksAndVersions(t *testing.T) {
	g := &gate{gone: map[string]bool{}}
	h := newServer(g, &memory.Store{}, slog.New(slog.DiscardHandler)).Handler()
	want := func(status int, part string, e exchange) {
		t.Helper()
		if rec := do(t, h, e); rec.Code != status || !strings.Contains(rec.Body.String(), part) {
			t.Errorf("%s %s: got %d %s; want %d with %q", e.method, e.path, rec.Code, rec.Body, status, part)
		}
	}
	controller := func(method, path string) exchange {
		return exchange{token: "controller", method: method, path: ws + path}
	}
	want(200, `{"held":false}`, controller("GET", "/lock"))
	want(200, `{"versions":null}`, controller("GET", "/versions"))
	want(200, "", exchange{token: oneRun, method: "LOCK", path: st, body: lock1})
	want(200, "", exchange{token: oneRun, method: "POST", path: st + "?ID=1", body: `{"serial":3,"lineage":"l"}`})
	other := `{"serial":4,"lineage":"m"}`
	want(409, "lineage \\\"m\\\"", exchange{token: oneRun, method: "POST", path: st + "?ID=1", body: other})
	want(200, `"run":"a","serial":3,"lineage":"l"`, controller("GET", "/versions"))
	want(200, `"held":true,"holder":{"namespace":"ns","run":"a"`, controller("GET", "/lock"))
	want(409, `"error":"locked by run ns/a in pod a since `+sinceStart, controller("DELETE", "/lock"))
	want(409, `"holder":{"namespace":"ns","run":"a","pod":"a"`, controller("DELETE", "/lock"))
	want(403, "", exchange{token: oneRun, method: "DELETE", path: ws + "/lock"})
	want(404, "", exchange{token: "controller", method: "GET", path: "/v1/workspaces/ns/none/lock"})
	g.gone["a"] = true
	want(200, `"holderGone":true`, controller("GET", "/lock"))
	want(200, `{"released":{"namespace":"ns","run":"a"`, controller("DELETE", "/lock"))
	want(200, `{"released":null}`, controller("DELETE", "/lock"))
	want(200, `"forced":"controller"`, controller("GET", "/lock"))
}

func TestEachRequestIsLoggedAndCounted(t *testing.T) {
	var logged bytes.Buffer
	s := newServer(&gate{}, &memory.Store{}, slog.New(slog.NewJSONHandler(&logged, nil)))
	do(t, s.Handler(), exchange{token: oneRun, method: "LOCK", path: st, body: lock1})
	do(t, s.Handler(), exchange{token: "secret-token", method: "GET", path: st})

	lines := strings.Split(strings.TrimSpace(logged.String()), "\n")
	if len(lines) != 4 || strings.Contains(logged.String(), "secret-token") {
		t.Fatalf("got log %s, want four lines without tokens", logged.String())
	}
	var line struct {
		Route, Namespace, Workspace, Run string
		Status                           int
	}
	if err := json.Unmarshal([]byte(lines[0]), &line); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(line); got != "{lock ns ws a 200}" {
		t.Errorf("logged %s", lines[0])
	}
	wantAudit(t, lines[1], "{lock done run ns/a in pod a ns-ws}")
	wantAudit(t, lines[3], "{read refused  }")
	for labels, want := range map[[2]string]float64{{"lock", "200"}: 1, {"state_get", "401"}: 1} {
		var m dto.Metric
		if err := s.metrics.requests.WithLabelValues(labels[0], labels[1]).Write(&m); err != nil {
			t.Fatal(err)
		}
		if got := m.GetCounter().GetValue(); got != want {
			t.Errorf("counted %v of %v, want %v", got, labels, want)
		}
	}
	for labels, want := range map[[2]string]float64{{"lock", "received"}: float64(len(lock1)), {"lock", "sent"}: 0} {
		var m dto.Metric
		if err := s.metrics.bytes.WithLabelValues(labels[0], labels[1]).Write(&m); err != nil {
			t.Fatal(err)
		}
		if got := m.GetCounter().GetValue(); got != want {
			t.Errorf("counted %v of %v, want %v", got, labels, want)
		}
	}
}
