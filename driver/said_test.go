package driver

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// TestWhatAStreamSays: what is planned, done, forgotten and warned of is what the stream says, in whatever order things
// fail.
func TestWhatAStreamSays(t *testing.T) {
	prepare, initial, outputs := step1("prepare"), step1("init"), step1("outputs")
	planned, applied := step1("plan"), step1("apply")
	playScenes(t, []scene{
		{"halfway", job.Apply, job.Result{
			Class: job.ConfigInvalid, Changes: &job.Changes{},
			Message: "main.tf:6: Resource precondition failed: quota exceeded",
			Steps:   []job.Step{prepare, initial, {Name: "plan", Attempts: 1, Class: job.ConfigInvalid}},
		}},
		{"relapse", job.Apply, job.Result{
			Class:   job.ConfigInvalid,
			Message: `main.tf:5: Unsupported argument: An argument named "inpt" is not expected here. Did you mean "input"?`,
			Changes: &job.Changes{Add: 1}, // of the first attempt
			Steps: []job.Step{prepare, initial, {Name: "plan", Attempts: 2, Class: job.ConfigInvalid},
				{Name: "apply", Attempts: 1, Class: job.Transient}},
		}},
		{"forgets", job.Apply, job.Result{
			Class: job.Applied, Message: "Apply complete! Resources: 0 added, 0 changed, 0 destroyed, 1 forgotten.",
			Changes: &job.Changes{Forget: 1}, Steps: []job.Step{prepare, initial, planned, applied, outputs},
			StateSerial: 1, StateLineage: "x", StoreID: "store-1",
			Warnings: &job.Warnings{Total: 1, First: []string{"Some objects will no longer be managed by Terraform: If you " +
				"apply this plan, Terraform will discard its tracking information for the following objects, but it will not " +
				"delete them: - terraform_data.a"}},
		}},
		{"check-reads", job.Plan, job.Result{
			Class: job.NoChanges, Message: "nothing to change", Changes: &job.Changes{},
			Steps: []job.Step{prepare, initial, planned},
			Warnings: &job.Warnings{Total: 1, First: []string{"Value for undeclared variable: The root module does not " +
				"declare a variable named \"nope\" but a value was found in file \"extra.auto.tfvars\". " +
				"If you meant to use this value, add a \"variable\" block to the configuration."}},
		}},
		{"outputs-alone", job.Plan, job.Result{
			Class: job.Planned, Message: "Plan: 0 to add, 0 to change, 0 to destroy.", Changes: &job.Changes{},
			Steps: []job.Step{prepare, initial, planned},
		}},
		{"refreshes", job.Refresh, job.Result{
			Class: job.Applied, Message: "the state was brought up to date: 1 resources had changed", Changes: &job.Changes{},
			Steps: []job.Step{prepare, initial, planned, outputs}, StateSerial: 1, StateLineage: "x", StoreID: "store-1",
			Drift: []job.Drift{{Address: "terraform_data.b[0]", Actions: []string{"update"}}}, DriftTotal: 1,
		}},
		{"waits", job.Apply, job.Result{ // once: it would wait for as long again
			Class: job.TimedOut, Message: "polling: context deadline exceeded", Changes: &job.Changes{Add: 1},
			Steps: []job.Step{prepare, initial, planned, {Name: "apply", Attempts: 1, Class: job.TimedOut}},
		}},
		{"mute", job.Plan, job.Result{
			Class: job.PlanFailed, Message: "the engine ended without saying what it plans",
			Steps: []job.Step{prepare, initial, {Name: "plan", Attempts: 1, Class: job.PlanFailed}},
		}},
	})
}

// TestPreventDestroy: a destruction that the configuration forbids is one attempt at a plan, with file and line, and
// nothing in the log looks like an apply.
func TestPreventDestroy(t *testing.T) {
	b := newBench(t)
	b.useFake("prevented")
	b.cfg.Params.Operation = job.Destroy
	got := b.run(t.Context())
	want := []job.Step{step1("prepare"), step1("init"), {Name: "plan", Attempts: 1, Class: job.ConfigInvalid}}
	if diff := cmp.Diff(want, got.Steps, withoutTimes); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if got.Class != job.ConfigInvalid || !strings.HasPrefix(got.Message, "main.tf:1: Instance cannot be destroyed: ") {
		t.Errorf("%s: %s", got.Class, got.Message)
	}
	if strings.Contains(b.log.String(), "== apply") {
		t.Error("the log has the heading of an apply")
	}
}

// TestChecks: a check that fails is told with its message, and a state that has results of checks tells that there are
// some that pass.
func TestChecks(t *testing.T) {
	const results = `, "check_results": [{"object_kind": "check", "status": "pass"}]}`
	tests := []struct {
		name, scene, state string
		want               *job.Checks
	}{
		{"fails", "check-fails", stateOf(3), &job.Checks{Failed: 1, Messages: []string{
			`main.tf:9: check "level": the water is high`}}},
		{"passes", "check-reads", strings.TrimSuffix(stateOf(3), "}") + results, &job.Checks{}},
		{"none is known", "check-reads", stateOf(3), nil},
		{"nothing is known without a plan", "broken", strings.TrimSuffix(stateOf(3), "}") + results, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			b.useFake(test.scene)
			b.cfg.Params.Operation = job.Plan
			b.state.state = []byte(test.state)
			if diff := cmp.Diff(test.want, b.run(t.Context()).Checks); diff != "" {
				t.Errorf("checks (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMessages(t *testing.T) {
	b := newBench(t)
	transient, odd := diagnostic{Summary: "503 Service Unavailable"}, diagnostic{Summary: "odd"}
	many := slices.Repeat([]diagnostic{odd}, 1000)
	wrong := diagnostic{Summary: "Unsupported argument", Range: &place{Filename: "./a.tf"}}
	tests := []struct {
		name   string
		errors []diagnostic
		want   failure
	}{
		{"the error that decides", []diagnostic{transient, odd}, failure{job.PlanFailed, "odd (+1 more)"}},
		{"many", many, failure{job.PlanFailed, "odd (+999 more)"}},
		{"one that needs a person is the last of a thousand", append(slices.Clip(many), wrong),
			failure{job.ConfigInvalid, "a.tf:0: Unsupported argument (+1000 more)"}},
		{"what the state service said", []diagnostic{{Summary: "Error refreshing state: HTTP error: 403"}},
			failure{job.StateUnavailable, "Error refreshing state: HTTP error: 403 [the Run is over]"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := &run{Config: b.cfg, stderr: &tail{}, said: &stream{errors: judge(test.errors)}}
			r.proxy = &stateProxy{trouble: "the Run is over"}
			got := r.failed(t.Context(), errors.New("exit status 1"), step{name: "plan", fails: job.PlanFailed})
			if diff := cmp.Diff(test.want, *got, cmp.AllowUnexported(failure{})); diff != "" {
				t.Errorf("failure (-want +got):\n%s", diff)
			}
		})
	}
}
