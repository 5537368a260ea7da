package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/people"
	"github.com/plumbline-dev/plumbline/state/store/memory"
)

// granted is what RBAC says, as "<user> <verb> <resource>/<subresource> <namespace>/<name>".
type granted map[string]bool

func (g granted) May(_ context.Context, user authenticationv1.UserInfo, a Asked) error {
	key := fmt.Sprintf("%s %s %s/%s %s/%s", user.Username, a.verb, a.resource, a.subresource, a.Namespace, a.Name)
	if g[key] {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrForbidden, key)
}

func (granted) Run(_ context.Context, _, run string) (Run, error) {
	if run == "none" {
		return Run{}, state.ErrNotFound
	}
	return Run{UID: "uid-" + run, Workspace: "ws", Created: start}, nil
}

func (granted) WorkspaceUIDs(_ context.Context, namespace string) (map[string]bool, error) {
	return map[string]bool{"ns-ws": namespace == "" || namespace == "ns"}, nil
}

// stage is a server that people reach.
type stage struct {
	*Server
	handler http.Handler
	cert    pair
	rights  granted
}

func newStage(t *testing.T, log *slog.Logger, rights ...string) *stage {
	t.Helper()
	ca := must[pair](t)(newCA(start))
	s := newServer(&gate{}, &memory.Store{}, log)
	g := granted{}
	for _, r := range rights {
		g[r] = true
	}
	s.FrontProxy, _, _ = frontProxy(proxyConfigOf(ca))
	s.People = g
	return &stage{s, s.Handler(), clientCert(t, ca, "front-proxy-client", x509.ExtKeyUsageClientAuth), g}
}

func (s *stage) as(user, method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, people.Prefix+"/namespaces/ns/"+path, strings.NewReader(body))
	r.TLS = asUser(user, s.cert).TLS
	r.Header.Set("X-Remote-User", user)
	r.Header.Set("X-Remote-Group", "devs")
	r.Header.Set("Audit-Id", auditID) // the API server's
	rec := httptest.NewRecorder()
	s.handler.ServeHTTP(rec, r)
	return rec
}

const auditID = "0f2d6e2c-9d0c-4a44-8bb0-5b8a1dcbbd6f"

const (
	push1 = `{"version":4,"serial":1,"lineage":"l","outputs":{}}`
	push2 = `{"version":4,"serial":2,"lineage":"l","outputs":{}}`
	push0 = `{"version":4,"serial":0,"lineage":"m","outputs":{}}`
)

var everything = []string{
	"alice get workspaces/state ns/ws", "alice update workspaces/state ns/ws", "alice get workspaces/lock ns/ws",
	"alice delete workspaces/lock ns/ws", "alice get runs/log ns/a", "alice get runs/plan ns/a",
	"alice get runs/log ns/",
}

func TestPeopleRoutes(t *testing.T) {
	s := newStage(t, slog.New(slog.DiscardHandler), everything...)
	ctx := t.Context()
	id := state.RunID{UID: "ns-ws", Run: "a", RunUID: "uid-a"}
	for part, text := range map[string]string{job.PartPlan: "PK", job.PartPlanJSON: "{}", job.PartPlanText: "# a"} {
		if err := s.Service.PutPart(ctx, id, part, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Service.PutChunk(ctx, id, state.NewChunk{Packed: []byte(chunkOf(t, 0, "one\n"))}); err != nil {
		t.Fatal(err)
	}
	for i, e := range []struct {
		method, path, body string
		status             int
		part               string
	}{
		{"GET", "workspaces/ws/state", "", 404, "has no state"},
		{"GET", "workspaces/ws/state/versions", "", 200, `{"versions":null}`},
		{"PUT", "workspaces/ws/state", push1, 400, "say why"},
		{"PUT", "workspaces/ws/state?why=first", push1, 200, `"person":"alice","why":"first"`},
		{"PUT", "workspaces/ws/state?why=second", push2, 200, `"number":2`},
		{"PUT", "workspaces/ws/state?why=third", push0, 409, "lineage"},
		{"PUT", "workspaces/ws/state?why=third&force=perhaps", push0, 400, "true or false"},
		{"PUT", "workspaces/ws/state?why=third&force=true", push0, 200, `"serial":3,"lineage":"m"`},
		{"PUT", "workspaces/ws/state?why=x", "{}", 400, "no Terraform state"},
		{"GET", "workspaces/ws/state/versions/1", "", 200, push1},
		{"GET", "workspaces/ws/state/versions/9", "", 404, "has no version 9"},
		{"GET", "workspaces/ws/state/versions/x", "", 400, "number"},
		{"POST", "workspaces/ws/state/rollback", `{"version":2}`, 400, "say why"},
		{"POST", "workspaces/ws/state/rollback", `{"version":9,"why":"w"}`, 404, "has no version 9"},
		{"POST", "workspaces/ws/state/rollback", `{"version":2,"why":"w"}`, 200, `"rollbackOf":2`},
		{"GET", "workspaces/ws/state", "", 200, `"serial":4`},
		{"GET", "workspaces/ws/state/versions", "", 200, `{"versions":[{"number":4`},
		{"GET", "workspaces/ws/lock", "", 200, `{"held":false`},
		{"DELETE", "workspaces/ws/lock", "", 400, "say why"},
		{"DELETE", "workspaces/ws/lock?why=w", "", 200, `{"released":null}`},
		{"GET", "runs/a/log", "", 200, "one\n"},
		{"GET", "runs/a/plan", "", 200, "PK"},
		{"GET", "runs/a/plan.json", "", 200, "{}"},
		{"GET", "runs/a/plan.txt", "", 200, "# a"},
		{"GET", "workspaces/ws/runs", "", 200, `{"runs":[{"run":"a","uid":"uid-a"}]}`},
		{"GET", "workspaces/ws/runs/a/log", "", 200, "one\n"},
		{"GET", "workspaces/ws/runs/a/log/end?runUID=uid-a", "", 200, `{"end":0}`},
		{"GET", "workspaces/ws/runs/a/log?runUID=uid-b", "", 404, "log of run a"},
		{"GET", "workspaces/ws/runs/a/log?runUID=a%2Fb", "", 400, "UID"},
		{"GET", "workspaces/ws/runs/a/plan", "", 200, "PK"},
		{"GET", "workspaces/ws/runs/a/plan.json", "", 200, "{}"},
		{"GET", "workspaces/ws/runs/a/plan.txt", "", 200, "# a"},
		{"GET", "workspaces/other/runs/a/plan.txt", "", 404, "nothing is archived of run a"},
		{"GET", "workspaces/none/runs/a/log", "", 404, "not found"},
	} {
		rec := s.as("alice", e.method, e.path, e.body)
		if rec.Code != e.status || !strings.Contains(rec.Body.String(), e.part) {
			t.Errorf("%d: %s %s: got %d %s, want %d with %q", i, e.method, e.path, rec.Code, rec.Body, e.status, e.part)
		}
	}
}

func TestALockIsBroken(t *testing.T) {
	var logged bytes.Buffer
	s := newStage(t, slog.New(slog.NewJSONHandler(&logged, nil)), everything...)
	do(t, s.handler, exchange{token: oneRun, method: "LOCK", path: st, body: lock1})
	for _, e := range []struct {
		method, path, body string
		status             int
		part               string
	}{
		{"PUT", "workspaces/ws/state?why=w", push1, 409, "locked by run ns/a in pod a"},
		{"POST", "workspaces/ws/state/rollback", `{"version":1,"why":"w"}`, 404, "no version 1"},
		{"DELETE", "workspaces/ws/lock?why=w&id=2", "", 409, `the lock's ID is \"1\"`},
		{"DELETE", "workspaces/ws/lock?why=it+is+dead&id=1", "", 200, `"run":"a"`},
		{"GET", "workspaces/ws/lock", "", 200, `"forced":"alice","why":"it is dead"`},
		{"PUT", "workspaces/ws/state?why=w", push1, 200, ""},
	} {
		rec := s.as("alice", e.method, e.path, e.body)
		if rec.Code != e.status || !strings.Contains(rec.Body.String(), e.part) {
			t.Errorf("%s %s: got %d %s, want %d with %q", e.method, e.path, rec.Code, rec.Body, e.status, e.part)
		}
	}
	if got := do(t, s.handler, exchange{token: oneRun, method: "POST", path: st + "?ID=1", body: push2}); got.Code != 409 {
		t.Errorf("the former holder still writes: %d %s", got.Code, got.Body)
	}
	for line := range strings.SplitSeq(logged.String(), "\n") {
		if strings.Contains(line, `"action":"force unlock"`) && strings.Contains(line, `"outcome":"done"`) {
			wantForced(t, line)
			return
		}
	}
	t.Errorf("the audit says nothing of it:\n%s", logged.String())
}

// wantForced wants the audit's line of a forced lock to say who, why, and by which request to the API server.
func wantForced(t *testing.T, line string) {
	t.Helper()
	wantAudit(t, line, "{force unlock done user alice ns-ws}")
	var more struct {
		Why, AuditID string
		Groups       []string
	}
	if err := json.Unmarshal([]byte(line), &more); err != nil || more.Why != "it is dead" || more.AuditID != auditID ||
		len(more.Groups) == 0 {
		t.Errorf("the audit says %+v of a forced lock (%v), want why, the API server's ID and groups", more, err)
	}
}

// Each route needs its rights, all of them, and says 403 without one whether or not there is such a thing.
func TestPeopleNeedRights(t *testing.T) {
	for _, p := range slices.Concat(personRoutes, personArchiveRoutes) {
		method, path, _ := strings.Cut(p.pattern, " ")
		ofRun := map[bool]string{true: "a"}[strings.Contains(path, "{run}")]
		path = strings.TrimPrefix(path, people.Prefix+"/namespaces/{namespace}/")
		path = strings.NewReplacer("{name}", "ws", "{run}", "a", "{number}", "1").Replace(path)
		for i, need := range p.needs {
			s := newStage(t, slog.New(slog.DiscardHandler), everything...)
			name := "ws"
			if need.resource == "runs" {
				name = ofRun
			}
			delete(s.rights, fmt.Sprintf("alice %s %s/%s ns/%s", need.verb, need.resource, need.subresource, name))
			if rec := s.as("alice", method, path, ""); rec.Code != 403 {
				t.Errorf("%s without right %d: got %d %s, want 403", p.name, i, rec.Code, rec.Body)
			}
		}
		s := newStage(t, slog.New(slog.DiscardHandler), everything...)
		if rec := s.as("bob", method, path, ""); rec.Code != 403 {
			t.Errorf("%s by somebody else: got %d %s, want 403", p.name, rec.Code, rec.Body)
		}
		if rec := s.as("alice", method, path, ""); rec.Code == 403 || rec.Code == 401 {
			t.Errorf("%s with all rights: got %d %s", p.name, rec.Code, rec.Body)
		}
	}
	s := newStage(t, slog.New(slog.DiscardHandler), everything...)
	if rec := s.as("alice", "GET", "runs/none/log", ""); rec.Code != 403 {
		t.Errorf("a Run that nobody may know of: got %d, want 403", rec.Code)
	}
}

// Over a real TLS connection, headers of somebody without the API server's certificate are worth nothing.
func TestNobodySpeaksForOthers(t *testing.T) {
	s := newStage(t, slog.New(slog.DiscardHandler), everything...)
	server := httptest.NewUnstartedServer(s.handler)
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	defer server.Close()
	foreign := clientCert(t, must[pair](t)(newCA(start)), "front-proxy-client", x509.ExtKeyUsageClientAuth)
	for name, test := range map[string]struct {
		certs []pair
		token string
		want  int
	}{
		"the API server":            {[]pair{s.cert}, "", 200},
		"no certificate":            {nil, "", 401},
		"another CA's":              {[]pair{foreign}, "", 401},
		"a runner Pod's token":      {nil, oneRun, 401},
		"the controller's token":    {nil, "controller", 401},
		"another CA's and a token":  {[]pair{foreign}, "controller", 401},
		"the API server's, no user": {[]pair{s.cert}, "-", 401},
	} {
		transport := server.Client().Transport.(*http.Transport).Clone()
		for _, c := range test.certs {
			transport.TLSClientConfig.Certificates = append(transport.TLSClientConfig.Certificates,
				tls.Certificate{Certificate: [][]byte{c.cert.Raw}, PrivateKey: c.key})
		}
		url := server.URL + people.WorkspacePath("ns", "ws") + "/lock"
		req := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil))
		if test.token != "-" {
			req.Header.Set("X-Remote-User", "alice")
			req.Header.Set("X-Remote-Group", "system:masters")
			req.Header.Set("Authorization", "Bearer "+test.token)
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_ = resp.Body.Close()
		transport.CloseIdleConnections()
		if resp.StatusCode != test.want {
			t.Errorf("%s: got %d, want %d", name, resp.StatusCode, test.want)
		}
	}
}

func TestRefusalsAreKubernetesOwn(t *testing.T) {
	s := newStage(t, slog.New(slog.DiscardHandler))
	rec := s.as("alice", "GET", "workspaces/ws/state", "")
	var got metav1.Status
	if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil || got.Kind != "Status" || got.Code != 403 ||
		got.Reason != metav1.StatusReasonForbidden || !strings.Contains(got.Message, "workspaces/state") {
		t.Errorf("got %s, %v", rec.Body, err)
	}
	if rec := s.as("alice", "GET", "nonsense", ""); rec.Code != 404 || !strings.Contains(rec.Body.String(), `"Status"`) {
		t.Errorf("a path that there is not: got %d %s", rec.Code, rec.Body)
	}
	closed := newServer(&gate{}, &memory.Store{}, slog.New(slog.DiscardHandler)).Handler()
	if rec := do(t, closed, exchange{method: "GET", path: people.Prefix}); rec.Code != 400 {
		t.Errorf("without the API for people: got %d, want 400", rec.Code)
	}
}

// What is discovered is what is served, and nothing of it can be listed or deleted by itself.
func TestDiscovery(t *testing.T) {
	s := newStage(t, slog.New(slog.DiscardHandler))
	get := func(path string, into any) {
		t.Helper()
		rec := do(t, s.handler, exchange{method: "GET", path: path})
		if err := json.Unmarshal(rec.Body.Bytes(), into); err != nil || rec.Code != 200 {
			t.Fatalf("%s: %d %s, %v", path, rec.Code, rec.Body, err)
		}
	}
	var groups metav1.APIGroupList
	var group metav1.APIGroup
	var list metav1.APIResourceList
	get("/apis", &groups)
	get("/apis/"+people.Group, &group)
	get(people.Prefix, &list)
	got := []string{
		groups.Kind, groups.Groups[0].Name, group.Kind, group.PreferredVersion.GroupVersion, list.Kind, list.GroupVersion,
	}
	want := []string{
		"APIGroupList", "state.plumbline.dev", "APIGroup", "state.plumbline.dev/v1alpha1",
		"APIResourceList", "state.plumbline.dev/v1alpha1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("documents (-want +got)\n%s", diff)
	}
	if rec := do(t, s.handler, exchange{method: "GET", path: "/openapi/v2"}); rec.Code != 404 {
		t.Errorf("OpenAPI: got %d, want 404, which the API server takes for: none", rec.Code)
	}
	wantDiscovered(t, list)
}

func wantDiscovered(t *testing.T, list metav1.APIResourceList) {
	t.Helper()
	verbs := map[string]string{"GET": "get", "PUT": "update", "POST": "create", "DELETE": "delete"}
	served, discovered := map[string]bool{}, map[string]bool{}
	for _, p := range slices.Concat(personRoutes, personArchiveRoutes) {
		method, path, _ := strings.Cut(p.pattern, " ")
		parts := strings.Split(strings.TrimPrefix(path, people.Prefix+"/namespaces/{namespace}/"), "/")
		served[verbs[method]+" "+parts[0]+"/"+parts[2]] = true
	}
	for _, r := range list.APIResources {
		if !r.Namespaced || !strings.Contains(r.Name, "/") || r.Kind == "" {
			t.Errorf("%+v stands by itself", r)
		}
		for _, v := range r.Verbs {
			discovered[v+" "+r.Name] = true
		}
	}
	if diff := cmp.Diff(served, discovered); diff != "" {
		t.Errorf("discovery (-served +discovered)\n%s", diff)
	}
}
