package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/state/people"
)

// spoil makes a value one that can't be read.
func (s *Server) spoil(t *testing.T, key string) {
	t.Helper()
	store := s.Service.Store
	if err := errors.Join(store.Delete(t.Context(), key), store.Create(t.Context(), key, []byte("\x00gone"))); err != nil {
		t.Fatal(err)
	}
}

// What can't be read is no time to try again: it has a status and a reason of its own, for programs and for people.
func TestWhatIsDamagedIsSaid(t *testing.T) {
	var logged bytes.Buffer
	s := newStage(t, slog.New(slog.NewJSONHandler(&logged, nil)), everything...)
	as := func(status int, e exchange) string {
		t.Helper()
		rec := do(t, s.handler, e)
		if rec.Code != status {
			t.Errorf("%s %s: got %d %s, want %d", e.method, e.path, rec.Code, rec.Body, status)
		}
		return rec.Body.String()
	}
	wantReason := func(body string) {
		t.Helper()
		var told refusal
		if err := json.Unmarshal([]byte(body), &told); err != nil || told.Reason != "StateDamaged" ||
			!strings.Contains(told.Error, "plumbline state repair") {
			t.Errorf("got %s, %v; want the reason StateDamaged and what to do", body, err)
		}
	}
	as(200, exchange{token: oneRun, method: "LOCK", path: st, body: lock1})
	as(200, exchange{token: oneRun, method: "POST", path: st + "?ID=1", body: push1})
	as(200, exchange{token: oneRun, method: "POST", path: st + "?ID=1", body: push2})
	s.spoil(t, "state/ns-ws/000000000002")
	wantReason(as(500, exchange{token: oneRun, method: "GET", path: st}))
	wantReason(as(500, exchange{token: oneRun, method: "POST", path: st + "?ID=1", body: push2}))
	as(200, exchange{token: oneRun, method: "UNLOCK", path: st, body: lock1})
	as(409, exchange{token: "controller", method: "DELETE", path: ws + "?uid=ns-ws"})

	rec := s.as("alice", "GET", "workspaces/ws/state", "")
	var told metav1.Status
	err := json.Unmarshal(rec.Body.Bytes(), &told)
	if err != nil || told.Reason != people.ReasonDamaged || told.Code != 500 {
		t.Errorf("a person is told %s, %v", rec.Body, err)
	}
	if rec := s.as("alice", "GET", "workspaces/ws/state/versions", ""); rec.Code != 200 ||
		!strings.Contains(rec.Body.String(), `"damaged":`) {
		t.Errorf("the list: got %d %s", rec.Code, rec.Body)
	}
	if rec := s.as("alice", "POST", "workspaces/ws/state/repair", `{}`); rec.Code != 400 {
		t.Errorf("without why: got %d %s", rec.Code, rec.Body)
	}
	rec = s.as("alice", "POST", "workspaces/ws/state/repair", `{"why":"w"}`)
	said := `"damaged":["state/ns-ws/000000000002"],"version":{"number":3`
	if rec.Code != 200 || !strings.Contains(rec.Body.String(), said) {
		t.Errorf("repair: got %d %s", rec.Code, rec.Body)
	}
	if !strings.Contains(logged.String(), `"action":"repair","outcome":"done"`) {
		t.Errorf("the audit says nothing of it:\n%s", logged.String())
	}
	as(200, exchange{token: other, method: "LOCK", path: st, body: lock1})

	s.spoil(t, "lock/ns-ws/000000000005")
	wantReason(as(500, exchange{token: oneRun, method: "LOCK", path: st, body: lock1}))
	rec = s.as("alice", "GET", "workspaces/ws/lock", "")
	if rec.Code != 200 || !strings.Contains(rec.Body.String(), "damaged") {
		t.Errorf("the lock: got %d %s", rec.Code, rec.Body)
	}
	if rec := s.as("alice", "DELETE", "workspaces/ws/lock?why=w", ""); rec.Code != 200 {
		t.Errorf("unlock: got %d %s", rec.Code, rec.Body)
	}
	as(200, exchange{token: oneRun, method: "LOCK", path: st, body: lock1})
}
