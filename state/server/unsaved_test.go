package server

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"

	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/people"
	"github.com/plumbline-dev/plumbline/state/store/memory"
)

// TestUnsavedStateOverTheAPI: no Run reads the state while one waits that a Run could not save, also a Run that is
// over; the next Run stores it.
func TestUnsavedStateOverTheAPI(t *testing.T) {
	var body bytes.Buffer
	w := gzip.NewWriter(&body)
	_, _ = w.Write([]byte(`{"serial":1}`))
	_ = w.Close()
	g := &gate{over: map[string]bool{"a": true}}
	h := newServer(g, &memory.Store{}, slog.New(slog.DiscardHandler)).Handler()
	const unsaved = ws + "/unsaved"
	kept := do(t, h, exchange{oneRun, "PUT", unsaved + "?why=413", body.String(), 200, ""})
	var told struct{ ID string }
	if err := json.Unmarshal(kept.Body.Bytes(), &told); err != nil || kept.Code != 200 || told.ID == "" {
		t.Fatalf("%d %s", kept.Code, kept.Body)
	}
	for _, e := range []exchange{
		{other, "GET", st, "", 409, `{"error":"a run has applied something and could not save its state: that of run a ` +
			`(serial 0) is kept, and has to be stored first","reason":"StateUnsaved"}`},
		{"ns/other/a", "GET", unsaved + "/" + told.ID, "", 403, ""},
		{"controller", "DELETE", ws + "?uid=ns-ws", "", 409, ""},
		{oneRun, "POST", unsaved, "", 403, ""},
		{oneRun, "DELETE", unsaved + "/" + told.ID, "", 403, ""},
		{other, "GET", unsaved + "/" + told.ID, "", 200, body.String()},
		{other, "POST", unsaved, "", 204, ""},
		{other, "GET", st, "", 200, `{"serial":1}`},
		{other, "POST", unsaved, "", 204, ""},
		{other, "PUT", unsaved + "?place=p", body.String(), 200, ""},
	} {
		if rec := do(t, h, e); rec.Code != e.status || e.answer != "" && rec.Body.String() != e.answer {
			t.Errorf("%s %s: %d %s", e.method, e.path, rec.Code, rec.Body)
		}
	}
	var left people.UnsavedStates
	rec := do(t, h, exchange{other, "POST", unsaved, "", 200, ""})
	if err := json.Unmarshal(rec.Body.Bytes(), &left); err != nil || len(left.States) != 1 || left.States[0].Place != "p" {
		t.Errorf("left: %d %s", rec.Code, rec.Body)
	}
}

// TestWhatWasNotSavedHasAnOwner: a Workspace that is made again under the name doesn't begin beside what the first Run
// of the former one could not save, or made before there was a state.
func TestWhatWasNotSavedHasAnOwner(t *testing.T) {
	for name, left := range map[string]exchange{
		"a state":          {oneRun, "PUT", ws + "/unsaved", "\x1f\x8b", 200, ""},
		"what was made":    {oneRun, "PUT", ws + "/made", `[{"address":"a"}]`, 200, ""},
		"nothing was made": {oneRun, "PUT", ws + "/made", `[]`, 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(&gate{}, &memory.Store{}, slog.New(slog.DiscardHandler))
			if got := do(t, s.Handler(), left); got.Code != left.status {
				t.Fatalf("got %d %s", got.Code, got.Body)
			}
			again := state.Owner{UID: "another", Namespace: "ns", Name: "ws"}
			held := s.Service.Claim(t.Context(), again)
			if _, missing := errors.AsType[*state.MissingError](held); missing != (name != "nothing was made") {
				t.Errorf("the Workspace made again: %v", held)
			}
		})
	}
}
