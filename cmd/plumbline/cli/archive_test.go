package cli

import (
	"testing"

	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/people"
)

// TestRunsThatAreGone are listed and read by their Workspace.
func TestRunsThatAreGone(t *testing.T) {
	a := newAPI(t)
	a.says("GET "+ofWS+"/runs", people.ArchivedRuns{Runs: []state.ArchivedRun{
		{Run: "new", UID: "u2"}, {Run: "old", UID: state.NoRunUID, Seen: "2026-06-01"},
	}})
	a.says("GET "+ofWS+"/runs/old/log", "what it said\n")
	a.says("GET "+ofWS+"/runs/old/plan.txt", "its plan")
	a.says("GET "+ofWS+"/runs/old/plan.json", "{}")
	a.plumbline(t, "", "logs", "ws", "--list").want(t, "RUN", "FIRST SEEN", "new   u2", "old   none   2026-06-01")
	a.plumbline(t, "", "logs", "workspace/ws", "--run", "old").want(t, "what it said\n")
	a.plumbline(t, "", "plan", "show", "ws", "--run", "old").want(t, "its plan")
	a.plumbline(t, "", "plan", "show", "ws", "--run", "old", "--json").want(t, "{}")
	if a.plumbline(t, "", "logs", "ws", "--run", "old", "--run-uid", "u7"); !a.did("/runs/old/log?runUID=u7") {
		t.Errorf("asked %q", a.asked)
	}
	a.plumbline(t, "", "logs", "ws", "--run", "older").wantFailure(t, "no log of a run older", "plumbline logs ws --list")
	a.plumbline(t, "", "logs", "run/old", "--run", "old").wantFailure(t, "name the Workspace")
	a.plumbline(t, "", "logs", "ws", "--run", "a/b").wantFailure(t, "--run", `"a/b" is not a name`)
	a.plumbline(t, "", "logs", "ws", "--run-uid", "u7").wantFailure(t, "--run", "it is empty")
	a.plumbline(t, "", "logs", "ws", "-f", "--run", "old").wantFailure(t, "none of the others can be")
	a.says("GET "+ofWS+"/runs", people.ArchivedRuns{})
	if got := a.plumbline(t, "", "logs", "ws", "--list"); got.failed != nil || got.err != "Nothing is archived.\n" {
		t.Errorf("of nothing: %q, %v", got.err, got.failed)
	}
}
