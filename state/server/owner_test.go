package server

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/people"
)

const tf3 = `{"version":4,"serial":3,"lineage":"l","resources":[{"mode":"managed","instances":[{},{}]}]}`

// kept puts a state where the Run of a Workspace would, under the UID of an earlier one.
func kept(t *testing.T, s *state.Service, o state.Owner, data string) {
	t.Helper()
	h := state.Holder{Run: "old", Pod: "old", PodUID: "old"}
	for _, err := range []error{
		s.Lock(t.Context(), o.UID, h, []byte(lock1)),
		s.Claim(t.Context(), o),
		second(s.Write(t.Context(), o.UID, state.Claim{Holder: h, LockID: "1"}, []byte(data))),
		s.Unlock(t.Context(), o.UID, h, []byte(lock1)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func second(_ state.Version, err error) error { return err }

// A Workspace was made again: of the name there is a state under another UID.
func TestAStateOfAnEarlierWorkspace(t *testing.T) {
	var logged bytes.Buffer
	s := newServer(&gate{}, newStage(t, slog.New(slog.DiscardHandler)).Service.Store,
		slog.New(slog.NewJSONHandler(&logged, nil)))
	s.Service.StoreID = "store-1"
	kept(t, s.Service, state.Owner{UID: "former", Namespace: "ns", Name: "ws"}, tf3)
	h := s.Handler()
	for i, e := range []exchange{
		{oneRun, "LOCK", st, lock1, 200, ""},
		{oneRun, "GET", st, "", 412, "UID former: serial 3, 2 resources"},
		{oneRun, "POST", st + "?ID=1", tf3, 412, `"reason":"StateMissing"`},
		{oneRun, "UNLOCK", st, lock1, 200, ""},
		{"controller", "DELETE", ws + "?uid=ns-ws", "", 412, "plumbline.dev/adopt-state"},
		{"controller", "POST", ws + "/adopt?uid=another&from=former", "", 409, "UID is ns-ws"},
		{"controller", "POST", ws + "/adopt?uid=ns-ws&from=a/b", "", 400, "no UID"},
		{"controller", "POST", ws + "/adopt?uid=ns-ws&from=x", "", 404, "no state of UID x"},
		{oneRun, "POST", ws + "/adopt?uid=ns-ws&from=former", "", 403, ""},
		{"controller", "POST", ws + "/adopt?uid=ns-ws&from=former", "", 200, `"adoptedFrom":"former"`},
		{"controller", "POST", ws + "/adopt?uid=ns-ws&from=former", "", 200, `"adoptedFrom":"former"`},
		{oneRun, "GET", st, "", 200, tf3},
		{"controller", "DELETE", ws + "?uid=ns-ws", "", 409, "2 resources"},
	} {
		rec := do(t, h, e)
		if rec.Code != e.status || !strings.Contains(rec.Body.String(), e.answer) {
			t.Errorf("%d: %s %s: got %d %s, want %d with %q", i, e.method, e.path, rec.Code, rec.Body, e.status, e.answer)
		}
		if got := rec.Header().Get(job.StoreHeader); got != "store-1" {
			t.Errorf("%d: the answer is of store %q", i, got)
		}
	}
	if !strings.Contains(logged.String(), `"action":"take over","outcome":"done"`) {
		t.Error("the take-over left no line in the audit")
	}
}

func TestWhatARunExpects(t *testing.T) {
	for _, test := range []struct {
		name, header string
		status       int
	}{
		{"nothing", "", 200},
		{"what is there", `{"lineage":"l","serial":3}`, 200},
		{"newer", `{"lineage":"l","serial":4}`, 412},
		{"another lineage", `{"lineage":"m"}`, 412},
		{"what is none", `{`, 400},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t, slog.New(slog.DiscardHandler))
			kept(t, s.Service, state.Owner{UID: "ns-ws", Namespace: "ns", Name: "ws"}, tf3)
			r := httptest.NewRequest(http.MethodGet, st, nil)
			r.Header.Set("Authorization", "Bearer "+oneRun)
			r.Header.Set(job.ExpectedHeader, test.header)
			rec := httptest.NewRecorder()
			s.handler.ServeHTTP(rec, r)
			if rec.Code != test.status || rec.Code != http.StatusOK && strings.Contains(rec.Body.String(), "managed") {
				t.Errorf("got %d %s, want %d", rec.Code, rec.Body, test.status)
			}
		})
	}
}

func TestOrphans(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	s := newStage(t, log, "alice get workspaces/state ns/", "alice get workspaces/state ns/ws",
		"alice update workspaces/state ns/ws", "bob get workspaces/state ns/ws", "bob update workspaces/state ns/ws",
		"bob update workspaces/state ns/gone")
	kept(t, s.Service, state.Owner{UID: "former", Namespace: "ns", Name: "gone"}, tf3)
	kept(t, s.Service, state.Owner{UID: "ns-live", Namespace: "ns", Name: "live"}, tf3)
	kept(t, s.Service, state.Owner{UID: "away", Namespace: "n2", Name: "gone"}, tf3)
	for i, e := range []struct {
		user, method, path, body string
		status                   int
		part                     string
	}{
		{"bob", "GET", "states", "", 403, ""},
		{"alice", "GET", "states/former", "", 200, tf3},
		{"alice", "GET", "states/former/versions", "", 200, `"serial":3`},
		{"alice", "GET", "states/former/versions/1", "", 200, tf3},
		{"alice", "GET", "states/away", "", 404, "no state of UID away is known in namespace ns"},
		{"alice", "GET", "states/unknown", "", 403, ""},
		{"alice", "POST", "workspaces/ws/state/adopt", `{"from":"former"}`, 403, "ns/gone"},
		{"bob", "POST", "workspaces/ws/state/adopt", `{"from":"away"}`, 404, "away"},
		{"bob", "POST", "workspaces/ws/state/adopt", `{"from":"ns-live"}`, 403, "ns/live"},
		{"bob", "POST", "workspaces/ws/state/adopt", `{}`, 400, "no UID"},
		{"bob", "POST", "workspaces/ws/state/adopt", `{"from":"former"}`, 200, `"person":"bob"`},
		{"bob", "GET", "workspaces/ws/state", "", 200, tf3},
	} {
		rec := s.as(e.user, e.method, e.path, e.body)
		if rec.Code != e.status || !strings.Contains(rec.Body.String(), e.part) {
			t.Errorf("%d: %s %s: got %d %s, want %d with %q", i, e.method, e.path, rec.Code, rec.Body, e.status, e.part)
		}
	}
	s = newStage(t, log, "alice get workspaces/state ns/")
	kept(t, s.Service, state.Owner{UID: "former", Namespace: "ns", Name: "gone"}, tf3)
	kept(t, s.Service, state.Owner{UID: "ns-ws", Namespace: "ns", Name: "ws"}, tf3)
	var listed people.Orphans
	if err := json.Unmarshal(s.as("alice", "GET", "states", "").Body.Bytes(), &listed); err != nil {
		t.Fatal(err)
	}
	if len(listed.Orphans) != 1 || listed.Orphans[0].UID != "former" || *listed.Orphans[0].Resources != 2 {
		t.Errorf("orphans: %+v", listed.Orphans)
	}
}

func TestALiveWorkspacesStateIsNotTakenOver(t *testing.T) {
	s := newStage(t, slog.New(slog.DiscardHandler),
		"bob update workspaces/state ns/ws", "bob update workspaces/state ns/live")
	kept(t, s.Service, state.Owner{UID: "ns-live", Namespace: "ns", Name: "live"}, tf3)
	rec := s.as("bob", "POST", "workspaces/ws/state/adopt", `{"from":"ns-live"}`)
	if rec.Code != http.StatusConflict || !strings.Contains(rec.Body.String(), "of Workspace live, which is there") {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
}
