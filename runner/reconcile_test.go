package runner

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/internal/testkit"
)

func vpn() *testkit.WorkspaceBuilder { return testkit.Workspace("vpn") }

// lifecycle applies, reruns and destroys a Workspace.
func lifecycle(w *world) {
	w.t.Helper()
	w.drive("Ready", w.ready)
	var s corev1.Secret
	if !w.get("vpn-outputs", &s) || string(s.Data["ip"]) != "10.0.0.1" {
		w.t.Fatalf("outputs are %q", s.Data)
	}
	w.edit(func(o *v1alpha1.Workspace) { o.Annotations = map[string]string{v1alpha1.AnnotationRerun: "1"} })
	w.drive("the rerun's end", func() bool {
		o := w.workspace()
		return o.Status.LastRerun == "1" && w.ready()
	})
	w.must(w.base.Delete(w.t.Context(), w.workspace()))
	w.drive("the Workspace's end", func() bool { return w.workspace() == nil })
	if w.state.resources.Load() {
		w.t.Fatal("the Workspace is gone and its infrastructure is not")
	}
}

func TestLifecycle(t *testing.T) {
	w := newWorld(t, vpn().Obj())
	lifecycle(w)
	want := []string{
		// created
		"patch Workspace", "create Run", "patch Workspace status", "create Secret", "create Pod", "patch Run status",
		"patch Workspace status", "patch Run status", "create Secret", "patch Workspace status",
		// rerun
		"create Run", "create Pod", "patch Run status", "patch Run status", "patch Workspace status",
		// deleted
		"create Run", "patch Workspace status", "create Pod", "patch Run status", "patch Workspace status",
		"patch Run status", "patch Workspace",
	}
	got := strings.Join(w.writes, "\n")
	if diff := cmp.Diff(strings.Join(want, "\n"), got); diff != "" {
		t.Error(diff)
	}
}

// TestACrashAtAnyWrite: the controller dies right before or right after each of its writes, and another one takes over.
// Nothing is doubled, nothing lost.
func TestACrashAtAnyWrite(t *testing.T) {
	clean := newWorld(t, vpn().Obj())
	lifecycle(clean)
	for at := range clean.writes {
		for _, when := range []string{"before", "after"} {
			t.Run(fmt.Sprintf("%s write %d, %s", when, at, clean.writes[at]), func(t *testing.T) {
				w := newWorld(t, vpn().Obj())
				w.fault = func(w *world, now, _ string) error {
					if now == when && len(w.writes) == at+1 {
						return errInjected
					}
					return nil
				}
				lifecycle(w)
				launches := 0
				for what, times := range w.made {
					pod := strings.HasPrefix(what, "Pod ")
					if times > 1 && !pod {
						t.Errorf("%s was made %d times", what, times)
					}
					if pod {
						launches++
					}
				}
				// A Pod that was made and not recorded is removed and made anew, for the same Run.
				if launches != 3 {
					t.Errorf("3 Runs were wanted, and %d were launched", launches)
				}
				if n := w.removed["Pod"]; n != w.madeAnew() {
					t.Errorf("%d Pods were removed, and %d made anew", n, w.madeAnew())
				}
			})
		}
	}
}

// TestAConflictAtAnyWrite: somebody else wrote first.
func TestAConflictAtAnyWrite(t *testing.T) {
	clean := newWorld(t, vpn().Obj())
	lifecycle(clean)
	for at, what := range clean.writes {
		if !strings.HasPrefix(what, "patch") {
			continue
		}
		t.Run(fmt.Sprintf("write %d, %s", at, what), func(t *testing.T) {
			w := newWorld(t, vpn().Obj())
			w.fault = func(w *world, when, _ string) error {
				if when == "before" && len(w.writes) == at+1 {
					return apierrors.NewConflict(schema.GroupResource{Resource: "x"}, "x", errors.New("modified"))
				}
				return nil
			}
			lifecycle(w)
			for what, times := range w.made {
				if times > 1 {
					t.Errorf("%s was made %d times", what, times)
				}
			}
		})
	}
}

// TestAFailedReadIsNeverAState: whatever can't be read, nothing is decided on it.
func TestAFailedReadIsNeverAState(t *testing.T) {
	for _, what := range []string{"Workspace", "RunnerClass", "Secret", "Pod"} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t, vpn().Class("default").FromSecret("v", "s", "k").Obj(),
				testkit.Secret("s", map[string]string{"k": "v"}))
			w.fault = func(_ *world, when, kind string) error {
				if when == "read" && kind == what {
					return errInjected
				}
				return nil
			}
			for range 5 {
				_ = w.pass()
			}
			for _, r := range w.runs() {
				if r.Status.FinishedAt != nil {
					t.Errorf("Run %s ended as %s", r.Name, r.Status.Class)
				}
			}
			if o := w.workspace(); apimeta.IsStatusConditionFalse(o.Status.Conditions, v1alpha1.ConditionReady) {
				t.Errorf("the Workspace says %+v", o.Status.Conditions)
			}
			w.fault = nil
			lifecycle(w)
		})
	}
}

// TestADriftCheckThatFindsNothingCostsSixWrites is a figure of the design.
func TestADriftCheckThatFindsNothingCostsSixWrites(t *testing.T) {
	w := newWorld(t, vpn().Schedule("@every 1h").Obj())
	w.drive("Ready", w.ready)
	check := func() []string {
		w.clock.Step(time.Hour)
		w.settleUntilNextTick()
		w.writes = nil
		w.clock.Step(time.Hour)
		w.settle()
		for _, p := range w.live() {
			w.finish(p, job.Result{Class: job.NoChanges, Changes: &job.Changes{}})
		}
		w.settle()
		return w.writes
	}
	for range 3 {
		check()
	}
	want := []string{"create Run", "create Pod", "patch Run status", "patch Run status", "patch Workspace status",
		"delete Run"}
	if diff := cmp.Diff(want, check()); diff != "" {
		t.Error(diff)
	}
}

// TestARunThatIsAlwaysDueStarvesNothing: where Runs take longer than the schedule leaves between them, the outputs are
// written and the history is pruned all the same.
func TestARunThatIsAlwaysDueStarvesNothing(t *testing.T) {
	w := newWorld(t, vpn().Schedule("@every 1m").Obj())
	for range 9 {
		w.settle()
		w.clock.Step(2 * time.Minute)
		for _, p := range w.live() {
			w.finish(p, job.Result{Class: job.Applied})
		}
	}
	w.settle()
	var s corev1.Secret
	if !w.get("vpn-outputs", &s) || string(s.Data["ip"]) != "10.0.0.1" {
		t.Errorf("outputs are %q", s.Data)
	}
	if n := len(w.runs()); n > 5 {
		t.Errorf("%d Runs are kept, want 3 that are over, the last one and the one that goes on at most", n)
	}
}

// settleUntilNextTick ends what the present tick asks for.
func (w *world) settleUntilNextTick() {
	w.t.Helper()
	w.settle()
	for _, p := range w.live() {
		w.finish(p, job.Result{Class: job.NoChanges, Changes: &job.Changes{}})
	}
	w.settle()
}

func TestASecretOfTheOutputsNameThatIsNotOurs(t *testing.T) {
	w := newWorld(t, vpn().Obj(), testkit.Secret("vpn-outputs", map[string]string{"precious": "x"}))
	w.settle()
	w.finish(w.live()[0], job.Result{Class: job.Applied})
	for range 3 {
		_ = w.pass() // an error each time, tried again with backoff
	}
	c := apimeta.FindStatusCondition(w.workspace().Status.Conditions, v1alpha1.ConditionReady)
	if c.Reason != v1alpha1.ReasonNameConflict || !strings.Contains(c.Message, "vpn-outputs") {
		t.Errorf("Ready says %s: %s", c.Reason, c.Message)
	}
	var s corev1.Secret
	if w.get("vpn-outputs", &s); string(s.Data["precious"]) != "x" {
		t.Error("it was overwritten")
	}
}

func TestOutputsThatWereEditedOrDeletedAreMadeAnew(t *testing.T) {
	w := newWorld(t, vpn().Obj())
	w.drive("Ready", w.ready)
	var s corev1.Secret
	w.get("vpn-outputs", &s)
	s.Data["ip"] = []byte("edited")
	w.must(w.base.Update(t.Context(), &s))
	w.settle()
	if w.get("vpn-outputs", &s); string(s.Data["ip"]) != "10.0.0.1" {
		t.Errorf("edited, it says %q", s.Data["ip"])
	}
	w.must(w.base.Delete(t.Context(), &s))
	w.settle()
	if !w.get("vpn-outputs", &s) {
		t.Error("deleted, it stays away")
	}
}

func TestFilesThatASecretCannotHoldStopTheWorkspace(t *testing.T) {
	w := newWorld(t, vpn().Obj())
	w.fault = func(_ *world, when, what string) error {
		if when == "before" && what == "create Secret" {
			return apierrors.NewRequestEntityTooLargeError("limit is 3145728")
		}
		return nil
	}
	w.settle()
	o := w.workspace()
	if c := apimeta.FindStatusCondition(o.Status.Conditions,
		v1alpha1.ConditionStalled); c == nil || c.Reason != "ConfigInvalid" {
		t.Errorf("the Workspace says %+v", o.Status.Conditions)
	}
}

func TestAPendingRunThatIsCanceledIsNotMadeAgain(t *testing.T) {
	w := newWorld(t, vpn().FromSecret("v", "s", "k").Obj(), testkit.Secret("s", map[string]string{"k": "v"}))
	w.fault = func(w *world, when, what string) error {
		if when == "after" && what == "create Run" { // the Secret goes between the decision and the launch
			w.must(w.base.Delete(w.t.Context(), testkit.Secret("s", nil)))
		}
		return nil
	}
	w.settle()
	r := w.runs()[0]
	if why := w.workspace().Status.WaitingFor; !strings.Contains(why, `Secret "s" does not exist`) {
		t.Errorf("the Workspace waits for %q", why)
	}
	r.Spec.Cancel = true
	w.must(w.base.Update(t.Context(), &r))
	w.must(w.base.Create(t.Context(), testkit.Secret("s", map[string]string{"k": "v"})))
	w.settle()
	o := w.workspace()
	if len(w.runs()) != 1 || !apimeta.IsStatusConditionTrue(o.Status.Conditions, v1alpha1.ConditionStalled) {
		t.Errorf("%v; %+v", names(w.runs()), o.Status.Conditions)
	}
	w.fault = nil
	w.edit(func(o *v1alpha1.Workspace) { o.Annotations = map[string]string{v1alpha1.AnnotationRerun: "1"} })
	w.drive("Ready", w.ready)
}

func TestAPersonsRunBecomesTheWorkspaces(t *testing.T) {
	w := newWorld(t, vpn().Obj())
	w.drive("Ready", w.ready)
	long := strings.Repeat("a", 100) // a Pod's name can't have as many
	w.must(w.base.Create(t.Context(),
		testkit.Run("vpn", long).Manual().Created(w.clock.Now()).Operation(v1alpha1.OperationPlan).Obj()))
	w.drive("its end", func() bool { return w.run(long).Status.FinishedAt != nil })
	if r := w.run(long); r.Status.Class != string(job.Applied) || !metav1.IsControlledBy(r, w.workspace()) {
		t.Errorf("it ended as %s, owned by %v", r.Status.Class, r.OwnerReferences)
	}
}
