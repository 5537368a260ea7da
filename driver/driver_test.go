package driver

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// withoutTimes compares Results but for what differs from run to run.
var withoutTimes = cmp.Options{
	cmpopts.IgnoreFields(job.Step{}, "Duration"),
	cmpopts.IgnoreFields(job.Result{}, "Version", "Run", "OutputsDigest"),
}

func step1(name string) job.Step { return job.Step{Name: name, Attempts: 1} }

// TestRun plays a whole Run for each scene and looks at its Result.
func TestRun(t *testing.T) {
	prepare, initial, outputs := step1("prepare"), step1("init"), step1("outputs")
	planned, applied := step1("plan"), step1("apply")
	playScenes(t, []scene{
		{"apply", job.Apply, job.Result{
			Class: job.Applied, Message: "Apply complete! Resources: 3 added, 0 changed, 0 destroyed.",
			Changes: &job.Changes{Add: 3}, Steps: []job.Step{prepare, initial, planned, applied, outputs},
			StateSerial: 1, StateLineage: "x", StoreID: "store-1",
		}},
		{"apply", job.Destroy, job.Result{
			Class: job.Applied, Message: "Apply complete! Resources: 3 added, 0 changed, 0 destroyed.",
			Changes: &job.Changes{Add: 3}, Steps: []job.Step{prepare, initial, planned, applied},
			StateSerial: 1, StateLineage: "x", StoreID: "store-1",
		}},
		{"nochange", job.Apply, job.Result{
			Class: job.NoChanges, Message: "nothing to change",
			Changes: &job.Changes{}, Steps: []job.Step{prepare, initial, planned, outputs},
		}},
		{"plan", job.Plan, job.Result{
			Class: job.Planned, Message: "Plan: 0 to add, 1 to change, 1 to destroy.",
			Changes: &job.Changes{Change: 1, Destroy: 1}, Steps: []job.Step{prepare, initial, planned},
		}},
		{"plan-empty", job.Plan, job.Result{
			Class: job.NoChanges, Message: "nothing to change",
			Changes: &job.Changes{}, Steps: []job.Step{prepare, initial, planned},
		}},
		{"flaky", job.Apply, job.Result{
			Class: job.Applied, Message: "Apply complete! Resources: 3 added, 0 changed, 0 destroyed.",
			Changes:     &job.Changes{Add: 4}, // one of the first attempt, three of the second
			Steps:       []job.Step{prepare, initial, {Name: "plan", Attempts: 2}, {Name: "apply", Attempts: 2}, outputs},
			StateSerial: 2, StateLineage: "x", StoreID: "store-1",
		}},
		{"flaky-init", job.Apply, job.Result{
			Class: job.NoChanges, Message: "nothing to change", Changes: &job.Changes{},
			Steps: []job.Step{prepare, {Name: "init", Attempts: 3}, planned, outputs},
		}},
		{"stubborn", job.Apply, job.Result{
			Class: job.Transient, Message: "operation cannot be completed, please retry again",
			Steps: []job.Step{prepare, initial, {Name: "plan", Attempts: 3, Class: job.Transient}},
		}},
		{"broken", job.Apply, job.Result{
			Class:   job.ConfigInvalid,
			Message: `main.tf:5: Unsupported argument: An argument named "inpt" is not expected here. Did you mean "input"?`,
			Steps:   []job.Step{prepare, initial, {Name: "plan", Attempts: 1, Class: job.ConfigInvalid}},
		}},
		{"exists", job.Apply, job.Result{
			Class: job.AlreadyExists, Message: `configmaps "a" already exists`, Changes: &job.Changes{Add: 1},
			Steps: []job.Step{prepare, initial, planned, {Name: "apply", Attempts: 1, Class: job.AlreadyExists}},
		}},
		{"old", job.Apply, job.Result{
			Class: job.ConfigInvalid, Message: "main.tf:1: Unsupported argument",
			Steps: []job.Step{prepare, {Name: "init", Attempts: 1, Class: job.ConfigInvalid}},
		}},
		{"killed", job.Apply, job.Result{
			Class: job.PlanFailed, Message: "signal: killed",
			Steps: []job.Step{prepare, initial, {Name: "plan", Attempts: 1, Class: job.PlanFailed}},
		}},
	})
}

// scene is a Run of a fake engine and what comes of it.
type scene struct {
	scene     string
	operation job.Operation
	want      job.Result
}

func playScenes(t *testing.T, scenes []scene) {
	t.Helper()
	for _, test := range scenes {
		t.Run(test.scene+" "+string(test.operation), func(t *testing.T) {
			b := newBench(t)
			b.useFake(test.scene)
			b.cfg.Params.Operation = test.operation
			got := b.run(t.Context())
			if diff := cmp.Diff(test.want, got, withoutTimes); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
			b.checkReports(got)
		})
	}
}

// checkReports checks that the Result left by both ways.
func (b *bench) checkReports(want job.Result) {
	b.t.Helper()
	wire, message := b.reported()
	want.Version = job.Version
	if diff := cmp.Diff([]job.Result{want}, wire); diff != "" {
		b.t.Errorf("result at the state service (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, message); diff != "" {
		b.t.Errorf("termination message (-want +got):\n%s", diff)
	}
}

func TestOptionsReachTerraform(t *testing.T) {
	tests := []struct {
		operation job.Operation
		command   string
		want      []string
	}{
		{job.Apply, "apply", []string{"-json", "-target=a", "-target=b", "-replace=c", "-auto-approve", "-input=false",
			"-parallelism=3"}},
		{job.Destroy, "apply", []string{"-json", "-destroy", "-target=a", "-parallelism=3"}},
		{job.Refresh, "apply", []string{"-json", "-refresh-only", "-target=a", "-parallelism=3"}},
		{job.Plan, "plan", []string{"-json", "-detailed-exitcode", "-target=a", "-replace=c", "-parallelism=3"}},
	}
	for _, test := range tests {
		t.Run(string(test.operation), func(t *testing.T) {
			b := newBench(t)
			b.useFake("nochange")
			b.cfg.Params.Operation = test.operation
			b.cfg.Params.Targets, b.cfg.Params.Replace = []string{"a", "b"}, []string{"c"}
			b.cfg.Params.Engine.Parallelism = 3
			b.run(t.Context())
			calls, err := os.ReadFile(filepath.Join(b.cfg.Paths.Work, "calls."+test.command))
			b.must(err)
			for _, arg := range test.want {
				if !slices.Contains(strings.Fields(string(calls)), arg) {
					t.Errorf("no %s in: %s", arg, calls)
				}
			}
		})
	}
}

func TestOutputsComeFromTheState(t *testing.T) {
	b := newBench(t)
	b.useFake("apply")
	got := b.run(t.Context())
	want := map[string]job.Output{
		"id":  {Type: []byte(`"string"`), Value: []byte(`"one"`)},
		"psk": {Type: []byte(`"string"`), Value: []byte(`"geheim"`), Sensitive: true},
	}
	if diff := cmp.Diff(want, b.state.outputs); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
	}
	digest, err := job.DigestOutputs(job.SecretData(want))
	b.must(err)
	if got.OutputsDigest != digest {
		t.Errorf("digest %s, want %s", got.OutputsDigest, digest)
	}
	if _, err := os.Stat(filepath.Join(b.cfg.Paths.Work, "calls.output")); err == nil {
		t.Error("terraform output was run")
	}
}

// TestOutputsWithoutChanges: what is stored already isn't sent again, and what got lost is.
func TestOutputsWithoutChanges(t *testing.T) {
	for name, stored := range map[string]bool{"stored": true, "lost": false} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.useFake("nochange")
			b.state.state = []byte(stateOf(3))
			if stored {
				b.state.outputs = readSnapshot([]byte(stateOf(3))).outputs
			}
			got := b.run(t.Context())
			if got.OutputsDigest == "" || got.StateSerial != 3 {
				t.Errorf("digest %q, serial %d", got.OutputsDigest, got.StateSerial)
			}
			if sent := b.state.count("PUT /outputs") > 0; sent == stored {
				t.Errorf("outputs sent: %v", sent)
			}
			if len(b.state.outputs) != 2 {
				t.Errorf("outputs: %v", b.state.outputs)
			}
		})
	}
}

func TestOutputsOfAnEncryptedState(t *testing.T) {
	b := newBench(t)
	b.useFake("encrypted")
	b.run(t.Context())
	if got := string(b.state.outputs["psk"].Value); got != `"geheim"` {
		t.Errorf("output is %s", got)
	}
	if strings.Contains(b.log.String(), "geheim") {
		t.Error("a sensitive output is in the log")
	}
}

// TestStops: however a Run is stopped, Terraform's state is saved, its lock is released, and the Result says why.
func TestStops(t *testing.T) {
	tests := []struct {
		name, scene string
		grace       time.Duration
		deadline    time.Duration // of apply; the Pod is stopped otherwise
		want        job.Class
		serial      int64
	}{
		{"asked to, Terraform ends by itself", "hangs", time.Minute, 0, job.Canceled, 7},
		{"asked to, the provider hangs", "stuck", time.Millisecond, 0, job.Canceled, 8},
		{"asked to, Terraform hangs", "deaf", time.Millisecond, 0, job.Canceled, 0},
		{"deadline, Terraform ends by itself", "hangs", time.Minute, 50 * time.Millisecond, job.TimedOut, 7},
		{"deadline, the provider hangs", "stuck", time.Millisecond, 50 * time.Millisecond, job.TimedOut, 8},
		{"deadline, Terraform hangs", "deaf", time.Millisecond, 50 * time.Millisecond, job.TimedOut, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			b.useFake(test.scene)
			b.cfg.Params.Timeouts.Grace = test.grace
			b.cfg.KillDelay = 100 * time.Millisecond
			if test.scene == "stuck" {
				b.cfg.KillDelay = time.Minute
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if test.deadline > 0 {
				b.cfg.Params.Timeouts.Apply = test.deadline
			} else {
				b.log.on("terraform_data.a: Creating...", cancel)
			}
			got := b.run(ctx)
			if got.Class != test.want || got.StateSerial != test.serial || got.Changes.Add != 1 {
				t.Errorf("class %s, serial %d, changes %v", got.Class, got.StateSerial, got.Changes)
			}
			if test.want == job.TimedOut && got.Message != "apply did not end within 50ms" {
				t.Errorf("message: %s", got.Message)
			}
			if b.state.lock != "" {
				t.Errorf("lock is left: %s", b.state.lock)
			}
			b.checkReports(got)
		})
	}
}

// TestUnsavedState: a state that Terraform could not save is saved by the driver, and the Run goes on.
func TestUnsavedState(t *testing.T) {
	b := newBench(t)
	b.useFake("unsaved")
	b.state.answer = func(method, path string, nth int) int {
		if method == http.MethodPost && path == "/state" && nth == 1 {
			return http.StatusInternalServerError
		}
		return 0
	}
	got := b.run(t.Context())
	if got.Class != job.Applied || got.StateSerial != 9 || got.Changes.Add != 1 {
		t.Errorf("result: %+v", got)
	}
	if _, err := os.Stat(filepath.Join(b.cfg.Paths.Work, erroredState)); err == nil {
		t.Errorf("%s is still there", erroredState)
	}
	if b.state.lock != "" {
		t.Errorf("lock is left: %s", b.state.lock)
	}
}

// TestStateServiceRestarts: while it is away nothing fails.
func TestStateServiceRestarts(t *testing.T) {
	b := newBench(t)
	b.useFake("apply")
	b.state.answer = func(_, _ string, nth int) int {
		if nth <= 3 {
			return http.StatusServiceUnavailable
		}
		return 0
	}
	got := b.run(t.Context())
	if got.Class != job.Applied || len(b.state.outputs) != 2 {
		t.Errorf("result: %+v", got)
	}
	b.checkReports(got)
}

func TestOutputsRefused(t *testing.T) {
	b := newBench(t)
	b.useFake("apply")
	b.state.answer = func(_, path string, _ int) int {
		if path == "/outputs" {
			return http.StatusForbidden
		}
		return 0
	}
	got := b.run(t.Context())
	if got.Class != job.StateUnavailable || got.Message != "sending outputs: HTTP 403: told to answer 403" {
		t.Errorf("result: %+v", got)
	}
}

// TestReportRefused: the termination message doesn't depend on the state service.
func TestReportRefused(t *testing.T) {
	b := newBench(t)
	b.useFake("nochange")
	b.state.answer = func(_, path string, _ int) int {
		if strings.HasPrefix(path, "/runs/") {
			return http.StatusForbidden
		}
		return 0
	}
	b.run(t.Context())
	if _, message := b.reported(); message.Class != job.NoChanges {
		t.Errorf("termination message: %+v", message)
	}
}

// TestPrepareFails: before Terraform can start, too, there is a Result with a class and a reason.
func TestPrepareFails(t *testing.T) {
	tests := []struct {
		name    string
		spoil   func(b *bench)
		class   job.Class
		message string
	}{
		{"no engine", func(b *bench) { delete(b.env, engineVariable) }, job.ConfigInvalid, "neither terraform nor tofu"},
		{"no module", func(b *bench) { b.spec.ImagePath = "/no/such" }, job.ConfigInvalid, "no folder /no/such"},
		{"path leads out", func(b *bench) { b.file("../x.tf", "") }, job.ConfigInvalid, `file path "../x.tf" leads out`},
		{"newer spec", func(b *bench) { b.spec.Version = 99 }, job.ConfigInvalid, "newer release"},
		{"no CA", func(b *bench) { b.cfg.Params.State.CA = "x" }, job.ConfigInvalid, "no certificate"},
		{"no credential", func(b *bench) { b.spec.Credentials = []string{"cloud"} }, job.InitFailed, "credential cloud"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			b.useFake("apply")
			test.spoil(b)
			b.run(t.Context())
			_, got := b.reported()
			if got.Class != test.class || !strings.Contains(got.Message, test.message) {
				t.Errorf("%s: %s", got.Class, got.Message)
			}
		})
	}
}

// TestTalkative: a provider that prints 100 MiB neither stops the Run nor fills the memory; one endless line is cut.
func TestTalkative(t *testing.T) {
	b := newBench(t)
	b.useFake("talks")
	out := &counter{}
	b.cfg.Stdout = out
	b.writeSpec()
	got := Run(t.Context(), b.cfg)
	if got.Class != job.Applied {
		t.Fatalf("result: %+v", got)
	}
	b.checkArchiveOf(out.bytes)
	if out.bytes < talkLines*1000 || out.bytes > talkLines*1100 || out.longest > maxLine+100 {
		t.Errorf("%d bytes came, the longest line has %d", out.bytes, out.longest)
	}
}

type counter struct{ bytes, longest int }

func (c *counter) Write(b []byte) (int, error) {
	c.bytes += len(b)
	for line := range strings.Lines(string(b)) {
		c.longest = max(c.longest, len(line))
	}
	return len(b), nil
}
