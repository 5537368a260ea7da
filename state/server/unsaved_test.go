package server

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"log/slog"
	"testing"

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
