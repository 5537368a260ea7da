package server

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/store/memory"
)

const runA = ws + "/runs/a"

func chunkOf(t *testing.T, offset int64, text string) string {
	t.Helper()
	b, err := job.Chunk{Offset: offset, Text: []byte(text)}.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestArchiveAPI(t *testing.T) {
	over := "ns/ws/over"
	for _, test := range []struct {
		name      string
		exchanges []exchange
	}{
		{"a log", []exchange{
			{"controller", "GET", runA + "/log", "", 404, ""},
			{oneRun, "PUT", runA + "/log/0", chunkOf(t, 0, "one\n"), 200, ""},
			{oneRun, "PUT", runA + "/log/0", chunkOf(t, 0, "one\n"), 200, ""},
			{oneRun, "PUT", runA + "/log/0", chunkOf(t, 0, "two\n"), 409, ""},
			{oneRun, "PUT", runA + "/log/1", chunkOf(t, job.LogHead, "two\n"), 200, ""},
			{oneRun, "PUT", runA + "/log/2?drop=1-2", chunkOf(t, job.LogHead+4, "three\n"), 200, ""},
			{"controller", "GET", runA + "/log", "", 200, "one\n... 8388608 bytes of the log were not kept ...\nthree\n"},
			{"controller", "GET", runA + "/log?after=0&until=1", "", 200, ""},
			{"controller", "GET", runA + "/log?after=-1", "", 400, ""},
			{oneRun, "PUT", runA + "/log/3?drop=0-1", chunkOf(t, job.LogHead+9, "four\n"), 400, ""},
			{"controller", "DELETE", runA + "?uid=ns-ws", "", 200, ""},
			{"controller", "DELETE", runA + "?uid=ns-ws", "", 200, ""},
			{"controller", "GET", runA + "/log", "", 404, ""},
		}},
		{"parts", []exchange{
			{oneRun, "PUT", runA + "/plan", "PK\x03", 200, ""},
			{oneRun, "PUT", runA + "/plan", "PK\x04", 409, ""},
			{oneRun, "PUT", runA + "/plan.json", "{}", 200, ""},
			{oneRun, "PUT", runA + "/plan.txt", "# a", 200, ""},
			{oneRun, "PUT", runA + "/result", success, 200, ""},
			{"controller", "GET", runA + "/plan", "", 200, "PK\x03"},
			{"controller", "GET", runA + "/plan.json", "", 200, "{}"},
			{"controller", "GET", runA + "/plan.txt", "", 200, "# a"},
			{"controller", "GET", runA + "/result", "", 200, success},
			{"controller", "GET", runA + "/outputs", "", 404, ""},
			{oneRun, "PUT", ws + "/outputs", `{"o":{"value":"${x}"}}`, 200, ""},
			{other, "PUT", ws + "/outputs", `{"o":{"value":2}}`, 200, ""},
			{"controller", "GET", runA + "/outputs", "", 200, `{"o":{"value":"${x}"}}`},
			{"controller", "GET", ws + "/runs/b/outputs", "", 200, `{"o":{"value":2}}`},
			{"controller", "GET", ws + "/runs/b/plan", "", 404, ""},
		}},
		{"accessors", []exchange{
			{"controller", "GET", runA + "/accessors", "", 404, ""},
			{oneRun, "PUT", runA + "/accessors", `{"a": 1}`, 400, ""},
			{oneRun, "PUT", runA + "/accessors", `["a","b"]`, 200, ""},
			{oneRun, "PUT", runA + "/accessors", `["a","b"]`, 200, ""},
			{oneRun, "PUT", runA + "/accessors", `["c"]`, 409, ""},
			{other, "PUT", runA + "/accessors", `["c"]`, 403, ""},
			{over, "PUT", ws + "/runs/over/accessors", `["c"]`, 403, ""},
			{oneRun, "GET", runA + "/accessors", "", 403, ""},
			{"controller", "GET", runA + "/accessors", "", 200, `["a","b"]`},
		}},
		{"after the run", []exchange{
			{over, "PUT", ws + "/runs/over/log/0", chunkOf(t, 0, "the end\n"), 200, ""},
			{over, "PUT", ws + "/runs/over/plan.txt", "# a", 200, ""},
		}},
		{"whose is whose", []exchange{
			{other, "PUT", runA + "/log/0", chunkOf(t, 0, "x"), 403, ""},
			{other, "PUT", runA + "/plan", "x", 403, ""},
			{"ns/other/a", "PUT", runA + "/log/0", chunkOf(t, 0, "x"), 403, ""},
			{"elsewhere/ws/a", "PUT", runA + "/plan", "x", 403, ""},
			{"", "PUT", runA + "/plan", "x", 401, ""},
			{"controller", "PUT", runA + "/plan", "x", 403, ""},
			{oneRun, "GET", runA + "/log", "", 403, ""},
			{oneRun, "GET", runA + "/plan", "", 403, ""},
			{oneRun, "GET", runA + "/outputs", "", 403, ""},
			{oneRun, "PUT", runA + "/outputs", "{}", 400, ""},
			{oneRun, "DELETE", runA + "?uid=ns-ws", "", 403, ""},
			{"", "GET", runA + "/log", "", 401, ""},
		}},
		{"what is no chunk", []exchange{
			{oneRun, "PUT", runA + "/log/0", "plain text", 400, ""},
			{oneRun, "PUT", runA + "/log/0", "", 400, ""},
			{oneRun, "PUT", runA + "/log/0", chunkOf(t, 0, strings.Repeat("x", job.MaxChunk+1)), 400, ""},
			{oneRun, "PUT", runA + "/log/0", strings.Repeat("x", job.MaxPackedChunk+1), 413, ""},
			{oneRun, "PUT", runA + "/log/x", chunkOf(t, 0, "x"), 400, ""},
			{oneRun, "PUT", runA + "/log/-1", chunkOf(t, 0, "x"), 400, ""},
			{oneRun, "PUT", runA + "/log/5?drop=x", chunkOf(t, 0, "x"), 400, ""},
			{oneRun, "PUT", runA + "/log/5?drop=3-9", chunkOf(t, 0, "x"), 400, ""},
			{oneRun, "PUT", runA + "/else", "x", 400, ""},
			{"controller", "DELETE", runA, "", 400, ""},
			{"controller", "DELETE", ws + "/runs/a%2Fb?uid=ns-ws", "", 400, ""},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newServer(&gate{over: map[string]bool{"over": true}}, &memory.Store{}, slog.New(slog.DiscardHandler)).Handler()
			for i, e := range test.exchanges {
				if rec := do(t, h, e); rec.Code != e.status || (e.answer != "" && rec.Body.String() != e.answer) {
					t.Fatalf("%d: %s %s: got %d %s, want %d %s", i, e.method, e.path, rec.Code, rec.Body, e.status, e.answer)
				}
			}
		})
	}
}

// full is a store that takes nothing more.
type full struct{ memory.Store }

func (*full) Create(context.Context, string, []byte) error { return errors.New("no space") }

// TestReportDoesNotNeedTheArchive: a Result that was reported is not refused because it can't be archived.
func TestReportDoesNotNeedTheArchive(t *testing.T) {
	g := &gate{}
	h := newServer(g, &full{}, slog.New(slog.DiscardHandler)).Handler()
	rec := do(t, h, exchange{token: oneRun, method: "PUT", path: runA + "/result", body: success})
	if rec.Code != 200 || len(g.reported) != 1 {
		t.Errorf("got %d, reported %v", rec.Code, g.reported)
	}
	if rec := do(t, h, exchange{token: oneRun, method: "PUT", path: runA + "/plan", body: "x"}); rec.Code != 503 {
		t.Errorf("a plan: got %d, want 503", rec.Code)
	}
}

var _ state.Store = (*full)(nil)

// TestANameUsedAgain: a Run is shown its own archive, and the controller is given the accessors of the Run that it
// means. What former Runs of the name left is found by the Workspace.
func TestANameUsedAgain(t *testing.T) {
	var logged bytes.Buffer
	s := newStage(t, slog.New(slog.NewJSONHandler(&logged, nil)), everything...)
	former := state.RunID{UID: "ns-ws", Run: "a", RunUID: "former"}
	for part, text := range map[string]string{job.PartPlanText: "# former", job.PartAccessors: `["former"]`} {
		if err := s.Service.PutPart(t.Context(), former, part, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	people := func(path string, status int, want string) {
		t.Helper()
		if rec := s.as("alice", "GET", path, ""); rec.Code != status || !strings.Contains(rec.Body.String(), want) {
			t.Errorf("%s: got %d %s, want %d %s", path, rec.Code, rec.Body, status, want)
		}
	}
	accessors := func(uid string, status int, want string) {
		t.Helper()
		rec := do(t, s.handler, exchange{token: "controller", method: "GET", path: runA + "/accessors?runUID=" + uid})
		if rec.Code != status || !strings.Contains(rec.Body.String(), want) {
			t.Errorf("accessors of %s: got %d %s, want %d %s", uid, rec.Code, rec.Body, status, want)
		}
	}
	people("runs/a/plan.txt", 404, "")
	people("workspaces/ws/runs/a/plan.txt", 200, "# former")
	accessors("uid-a", 404, "")
	do(t, s.handler, exchange{token: oneRun, method: "PUT", path: runA + "/plan.txt", body: "# a"})
	do(t, s.handler, exchange{token: oneRun, method: "PUT", path: runA + "/accessors", body: `["a"]`})
	people("runs/a/plan.txt", 200, "# a")
	people("workspaces/ws/runs/a/plan.txt", 409, "former, uid-a")
	people("workspaces/ws/runs/a/plan.txt?runUID=former", 200, "# former")
	people("workspaces/ws/runs", 200, `[{"run":"a","uid":"former"},{"run":"a","uid":"uid-a"}]`)
	accessors("uid-a", 200, `["a"]`)
	accessors("former", 200, `["former"]`)
	for _, part := range []string{
		`"action":"list archive","outcome":"done"`, `"outcome":"refused","status":409`, `"run":"a"`,
	} {
		if !strings.Contains(logged.String(), part) {
			t.Errorf("the audit doesn't say %s:\n%s", part, logged.String())
		}
	}
}

// TestWhatAFormerReleaseArchivedByName is read for the Run that is there; accessors are, whatever else there is.
func TestWhatAFormerReleaseArchivedByName(t *testing.T) {
	s := newStage(t, slog.New(slog.DiscardHandler), everything...)
	const dir = "archive/ns-ws/a/"
	for key, text := range map[string]string{
		dir + "log/000000": chunkOf(t, 0, "by name\n"), dir + job.PartAccessors: `["by name"]`,
	} {
		if err := s.Service.Store.Create(t.Context(), key, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if rec := s.as("alice", "GET", "runs/a/log", ""); rec.Code != 200 || rec.Body.String() != "by name\n" {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
	// The Run goes on, with a server of this release.
	do(t, s.handler, exchange{token: oneRun, method: "PUT", path: runA + "/log/1", body: chunkOf(t, 8, "with the UID\n")})
	rec := do(t, s.handler, exchange{token: "controller", method: "GET", path: runA + "/accessors?runUID=uid-a"})
	if rec.Code != 200 || rec.Body.String() != `["by name"]` {
		t.Errorf("accessors: got %d %s", rec.Code, rec.Body)
	}
	want := "... 8 bytes of the log were not kept ...\nwith the UID\n"
	if rec := s.as("alice", "GET", "runs/a/log", ""); rec.Code != 200 || rec.Body.String() != want {
		t.Errorf("the rest of the log: got %d %s", rec.Code, rec.Body)
	}
	if rec := s.as("alice", "GET", "workspaces/ws/runs/a/log?runUID=none", ""); rec.Body.String() != "by name\n" {
		t.Errorf("its beginning: got %d %s", rec.Code, rec.Body)
	}
}
