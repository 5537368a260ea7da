package credentials

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/internal/testkit"
)

const (
	kubeToken = "header.payload.signature"
	token     = "hvs.the-token"
)

// handler answers one call to a path.
type handler func(body map[string]any) (status int, answer string)

// fake is a Vault that says what a test has it say; it tells of each call in asked.
type fake struct {
	*httptest.Server
	mu    sync.Mutex
	paths map[string]handler
	asked chan string
	// tokens are those that each path was asked with.
	tokens map[string][]string
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{asked: make(chan string, 1000), tokens: map[string][]string{}, paths: map[string]handler{
		"auth/jwt/login": says(200, login(3600, true)),
		lookup:           says(200, `{"data":{}}`),
		mounts:           says(200, `{"data":{"secret":{},"auth":{}}}`),
		health:           says(200, `{"initialized":true}`),
		renewToken:       says(200, login(5, true)),
		revokeSelf:       says(204, ""),
	}}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.Path, "/v1/")
		body := map[string]any{}
		_ = json.NewDecoder(r.Body).Decode(&body)
		f.mu.Lock()
		f.tokens[path] = append(f.tokens[path], r.Header.Get("X-Vault-Token"))
		h, ok := f.paths[path]
		f.mu.Unlock()
		status, answer := 404, `{"errors":[]}`
		if ok {
			status, answer = h(body)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
		f.asked <- path
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *fake) set(path string, h handler) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.paths[path] = h
}

// calls are the paths that were asked for, and the fake's last use.
func (f *fake) calls() []string {
	close(f.asked)
	var paths []string
	for path := range f.asked {
		paths = append(paths, path)
	}
	return paths
}

func says(status int, answer string) handler {
	return func(map[string]any) (int, string) { return status, answer }
}

func refuses(status int, text string) handler {
	return says(status, fmt.Sprintf(`{"errors":[%q]}`, text))
}

// forget makes it a server that does not know the token, and says no more than OpenBao does: that permission is denied.
func (h *harness) forget() {
	for _, path := range []string{lookup, mounts, "db/creds/app", renewLease, renewToken, revokeSelf} {
		h.set(path, refuses(403, "permission denied"))
	}
}

func login(ttl int, renewable bool) string {
	return fmt.Sprintf(`{"auth":{"client_token":%q,"accessor":"acc","lease_duration":%d,"renewable":%v,`+
		`"policies":["app","default"]}}`, token, ttl, renewable)
}

func leased(ttl int, renewable bool) string {
	return fmt.Sprintf(`{"lease_id":"db/creds/app/1","lease_duration":%d,"renewable":%v,"data":{"password":"hunter2"}}`,
		ttl, renewable)
}

// harness is a session's surroundings.
type harness struct {
	*fake
	clock *counting
	log   *testkit.Log
	cfg   Config
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(kubeToken), 0o600); err != nil {
		t.Fatal(err)
	}
	h := &harness{
		fake: newFake(t), log: &testkit.Log{},
		clock: &counting{FakeClock: clocktesting.NewFakeClock(time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC))},
	}
	h.cfg = Config{
		Address: h.URL, AuthPath: "auth/jwt", Role: "deployer", TokenFile: file, Clock: h.clock, Log: h.log.Printf,
		RetryDelay: time.Millisecond,
	}
	return h
}

func (h *harness) login(t *testing.T) *Session {
	t.Helper()
	s, err := Login(t.Context(), h.cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (h *harness) fetch(t *testing.T, s *Session) Answer {
	t.Helper()
	a, err := s.Fetch(t.Context(), Request{Path: "db/creds/app"})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func wantClass(t *testing.T, err error, class job.Class, words string) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Class != class || !strings.Contains(e.Message, words) {
		t.Errorf("got %v, want %s with %q", err, class, words)
	}
	if err != nil && (strings.Contains(err.Error(), token) || strings.Contains(err.Error(), kubeToken) ||
		strings.Contains(err.Error(), "\n")) {
		t.Errorf("got %q, want one line without a token", err)
	}
}

func TestFetch(t *testing.T) {
	metadata := `"metadata":{"version":2,"created_time":"2026-07-01T00:00:00Z"}`
	for name, test := range map[string]struct {
		status  int
		answer  string
		want    Answer
		refused string
	}{
		"a lease": {
			200, leased(60, true),
			Answer{Data: map[string]string{"password": "hunter2"}, TTL: time.Minute, Renewable: true}, "",
		},
		"KV version 1": {
			200, `{"lease_id":"","lease_duration":2764800,"data":{"a":"b"}}`, Answer{Data: map[string]string{"a": "b"}}, "",
		},
		"KV version 2": {
			200, `{"data":{"data":{"a":"b","metadata":"x"},` + metadata + `}}`,
			Answer{Data: map[string]string{"a": "b", "metadata": "x"}}, "",
		},
		"a secret of KV version 1 that looks like version 2": {
			200, `{"data":{"data":"b","metadata":"c"}}`, Answer{Data: map[string]string{"data": "b", "metadata": "c"}}, "",
		},
		"a deleted secret of KV version 2": {404, `{"data":{"data":null,` + metadata + `}}`, Answer{}, "deleted"},
		"KV version 2 without data in the path": {
			404, `{"data":{},"warnings":["Invalid path for a versioned K/V secrets engine."]}`,
			Answer{}, "the path may be db/data/creds/app",
		},
		"what is no string": {
			200, `{"data":{"n":1234567890123,"list":["a"],"object":{"a":{"b":null}},"yes":true,"null":null,"f":1.50}}`,
			Answer{Data: map[string]string{
				"n": "1234567890123", "list": `["a"]`, "object": `{"a":{"b":null}}`, "yes": "true", "null": "", "f": "1.50",
			}}, "",
		},
		"a token of Vault's own": {
			200, login(60, true),
			Answer{Data: map[string]string{"client_token": token, "accessor": "acc"}, TTL: time.Minute, Renewable: true}, "",
		},
		"nothing there":          {404, `{"errors":[]}`, Answer{}, `reading db/creds/app as role "deployer": not found`},
		"a path that is refused": {403, `{"errors":["permission denied"]}`, Answer{}, "permission denied"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.set("db/creds/app", says(test.status, test.answer))
			h.set(mounts+"/db/creds/app", says(200, `{"data":{"path":"db/"}}`))
			got, err := h.login(t).Fetch(t.Context(), Request{Path: "v1/db/creds/app"})
			if test.refused != "" {
				wantClass(t, err, job.CredentialsDenied, test.refused)
				return
			}
			if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
				t.Errorf("%v, (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestWriteHasParameters(t *testing.T) {
	h := newHarness(t)
	var got map[string]any
	h.set("k8s/creds/app", func(body map[string]any) (int, string) { got = body; return 204, "" })
	a, err := h.login(t).Fetch(t.Context(), Request{
		Path: "k8s/creds/app", Write: true, Parameters: map[string]any{"kubernetes_namespace": "a", "ttl": "15m"},
	})
	want := map[string]any{"kubernetes_namespace": "a", "ttl": "15m"}
	if err != nil || len(a.Data) != 0 || !maps.Equal(got, want) {
		t.Errorf("got %v, %v, sent %v", a, err, got)
	}
}

func TestFailuresHaveTheirClass(t *testing.T) {
	h := newHarness(t)
	s := h.login(t)
	h.set("db/creds/app", refuses(503, "Vault is sealed"))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := s.Fetch(ctx, Request{Path: "db/creds/app"})
	wantClass(t, err, job.CredentialsUnavailable, "Vault is sealed")
	h.set("db/creds/app", refuses(403, "permission denied"))
	_, err = s.Fetch(t.Context(), Request{Path: "db/creds/app"})
	wantClass(t, err, job.CredentialsDenied, "permission denied")
	h.forget() // a new leader that doesn't know it
	_, err = s.Fetch(t.Context(), Request{Path: "db/creds/app"})
	wantClass(t, err, job.CredentialsUnavailable, "the login token is gone: ")
	h.set("auth/jwt/login", refuses(400, `role "deployer" could not be found`))
	_, err = Login(t.Context(), h.cfg)
	wantClass(t, err, job.CredentialsDenied, "could not be found")
	h.cfg.TokenFile = "/none"
	_, err = Login(t.Context(), h.cfg)
	wantClass(t, err, job.CredentialsUnavailable, "/none")
	h.cfg.CA = []byte("none")
	_, err = Login(t.Context(), h.cfg)
	wantClass(t, err, job.CredentialsUnavailable, "no certificate")
}

func TestTheTokenIsCutToTheRunsTime(t *testing.T) {
	renewed := func(n *int, granted int) handler {
		return func(body map[string]any) (int, string) {
			asked, _ := body["increment"].(float64)
			*n = int(asked)
			return 200, login(granted, true)
		}
	}
	for name, test := range map[string]struct {
		login   string
		granted int
		asked   int
		logged  string
	}{
		"it is longer":             {login(3600, true), 600, 600, ""},
		"it is shorter":            {login(300, true), 0, 0, ""},
		"it ends with the Run":     {login(600, true), 0, 0, ""},
		"the server gives it more": {login(3600, true), 3600, 600, "the server gives it more"},
		"it is not renewable":      {login(3600, false), 0, 0, "it is not renewable"},
		"it never ends":            {login(0, false), 0, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.cfg.MaxTTL = 10 * time.Minute
			asked := 0
			h.set("auth/jwt/login", says(200, test.login))
			h.set(renewToken, renewed(&asked, test.granted))
			h.login(t)
			if asked != test.asked {
				t.Errorf("asked for %d s, want %d", asked, test.asked)
			}
			if got := h.log.String(); (test.logged == "") != (got == "") || !strings.Contains(got, test.logged) {
				t.Errorf("logged %q, want %q", got, test.logged)
			}
		})
	}
}

// flaky fails n times first.
func flaky(n int, then handler) handler {
	return func(body map[string]any) (int, string) {
		if n--; n >= 0 {
			return 503, `{"errors":["Vault is sealed"]}`
		}
		return then(body)
	}
}
