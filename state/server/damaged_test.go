package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
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

	// A person is told the same in Kubernetes' own words, and mends it.
	s.person(t, exchange{method: "GET", path: "workspaces/ws/state", status: 500, answer: `"reason":"StateDamaged"`})
	s.person(t, exchange{method: "GET", path: "workspaces/ws/state/versions", status: 200, answer: `"damaged":`})
	s.person(t, exchange{method: "POST", path: "workspaces/ws/state/repair", body: `{}`, status: 400, answer: "say why"})
	s.person(t, exchange{method: "POST", path: "workspaces/ws/state/repair", body: `{"why":"w"}`, status: 200,
		answer: `"damaged":["state/ns-ws/000000000002"],"version":{"number":3`})
	if !strings.Contains(logged.String(), `"action":"repair","outcome":"done"`) {
		t.Errorf("the audit says nothing of it:\n%s", logged.String())
	}
	as(200, exchange{token: other, method: "LOCK", path: st, body: lock1})

	s.spoil(t, "lock/ns-ws/000000000005")
	wantReason(as(500, exchange{token: oneRun, method: "LOCK", path: st, body: lock1}))
	s.person(t, exchange{method: "GET", path: "workspaces/ws/lock", status: 200, answer: "damaged"})
	s.person(t, exchange{method: "DELETE", path: "workspaces/ws/lock?why=w", status: 200, answer: "released"})
	as(200, exchange{token: oneRun, method: "LOCK", path: st, body: lock1})
	as(200, exchange{token: oneRun, method: "UNLOCK", path: st, body: lock1})

	s.spoil(t, "owner/ns-ws/000000000001")
	s.person(t, exchange{method: "POST", path: "workspaces/ws/state/repair", body: `{"why":"w"}`, status: 200,
		answer: `"damaged":["owner/ns-ws/000000000001"]`})
	s.person(t, exchange{method: "POST", path: "workspaces/ws/state/repair", body: `{"why":"w"}`, status: 200,
		answer: `"damaged":[]`})
}

// person has alice ask, and wants this status and these words.
func (s *stage) person(t *testing.T, ask exchange) {
	t.Helper()
	rec := s.as("alice", ask.method, ask.path, ask.body)
	if rec.Code != ask.status || !strings.Contains(rec.Body.String(), ask.answer) {
		t.Errorf("%s %s: got %d %s, want %d with %q", ask.method, ask.path, rec.Code, rec.Body, ask.status, ask.answer)
	}
}
