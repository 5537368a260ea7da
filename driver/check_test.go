package driver

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// checks are scenes of an engine that plans first: what it says of the plan, and how it applies.
var checks = map[string]struct {
	plan   string
	differ bool
	apply  func(call) int
}{
	"check-same":    {plan: "nochange"},
	"check-changed": {"plan-only", true, func(c call) int { return c.applies("apply") }},
	"check-drifted": {"drift-alone", false, func(c call) int { return c.applies("nochange") }},
	"check-flaky":   {"plan-only", true, flaky},
}

func check(c call) int {
	scene := checks[os.Getenv(sceneVariable)]
	if c.command == "apply" {
		return scene.apply(c)
	}
	c.state("GET", "")
	c.say(scene.plan)
	if scene.differ {
		return 2
	}
	return 0
}

// TestCheck: what nobody expects to change is planned first, and applied if anything differs.
func TestCheck(t *testing.T) {
	prepare, initial, outputs := step1("prepare"), step1("init"), step1("outputs")
	planned, applied := step1("plan"), step1("apply")
	for _, test := range []struct {
		scene string
		want  job.Result
		calls int // of apply
	}{
		{"check-same", job.Result{
			Class: job.NoChanges, Message: "nothing to change",
			Changes: &job.Changes{}, Steps: []job.Step{prepare, initial, planned, outputs},
		}, 0},
		{"check-changed", job.Result{
			Class: job.Applied, Message: "Apply complete! Resources: 3 added, 0 changed, 0 destroyed.",
			Changes: &job.Changes{Add: 3}, Steps: []job.Step{prepare, initial, planned, applied, outputs},
			StateSerial: 1, StateLineage: "x", StoreID: "store-1",
		}, 1},
		{"check-drifted", job.Result{ // so that the state tells what is true
			Class: job.NoChanges, Message: "nothing to change",
			Changes: &job.Changes{}, Steps: []job.Step{prepare, initial, planned, outputs},
		}, 1},
		{"check-flaky", job.Result{
			Class: job.Applied, Message: "Apply complete! Resources: 3 added, 0 changed, 0 destroyed.",
			Changes:     &job.Changes{Add: 4}, // one of the first attempt, three of the second
			Steps:       []job.Step{prepare, initial, {Name: "plan", Attempts: 2}, {Name: "apply", Attempts: 2}, outputs},
			StateSerial: 2, StateLineage: "x", StoreID: "store-1",
		}, 2},
	} {
		t.Run(test.scene, func(t *testing.T) {
			b := newBench(t)
			b.useFake(test.scene)
			b.cfg.Params.Check = true
			got := b.run(t.Context())
			if diff := cmp.Diff(test.want, got, withoutTimes); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
			calls, err := os.ReadFile(filepath.Join(b.cfg.Paths.Work, "calls.apply"))
			if n := strings.Count(string(calls), "\n"); n != test.calls || err != nil && test.calls > 0 {
				t.Errorf("applied %d times (%v), want %d", n, err, test.calls)
			}
			plans := b.read(filepath.Join(b.cfg.Paths.Work, "calls.plan"))
			if strings.Contains(plans, "-out") || !strings.Contains(plans, "-detailed-exitcode") ||
				!strings.Contains(plans, "-lock=false") {
				t.Errorf("a plan is saved, doesn't tell or locks: %s", plans)
			}
		})
	}
}

// TestACheckLocksAForeignBackend, for a state may be several objects there.
func TestACheckLocksAForeignBackend(t *testing.T) {
	b := newBench(t)
	b.abroad(nil, nil)
	b.cfg.Params.Check = true
	if got := b.run(t.Context()); got.Class != job.NoChanges {
		t.Errorf("%s: %s", got.Class, got.Message)
	}
	if plans := b.read(filepath.Join(b.cfg.Paths.Work, "calls.plan")); strings.Contains(plans, "-lock=false") {
		t.Errorf("it doesn't lock: %s", plans)
	}
}
