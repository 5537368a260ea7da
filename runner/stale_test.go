package runner

import (
	"testing"

	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/internal/testkit"
)

// TestADecisionTakenTwiceMakesOneRun: the cache doesn't know of the Run yet.
func TestADecisionTakenTwiceMakesOneRun(t *testing.T) {
	w := newWorld(t, vpn().Obj())
	w.settle()
	w.blind = true
	for range 3 {
		w.must(w.pass())
	}
	if len(w.runs()) != 1 || len(w.live()) != 1 {
		t.Errorf("there are %d Runs and %d Pods", len(w.runs()), len(w.live()))
	}
	w.blind = false
	lifecycle(w)
}

// TestADecisionThatARunHasAnsweredIsTakenAnew: the cache knows neither of the Run nor of its end, and it would be
// waited for in vain.
func TestADecisionThatARunHasAnsweredIsTakenAnew(t *testing.T) {
	w := newWorld(t, vpn().Obj())
	w.settle()
	w.finish(w.live()[0], job.Result{Class: job.Applied})
	w.settle()
	o := w.workspace()
	o.Status = v1alpha1.WorkspaceStatus{}
	w.must(w.base.Status().Update(t.Context(), o))
	w.blind = true
	if err := w.pass(); err == nil {
		t.Error("no error is returned: nothing would look again")
	}
	w.blind = false
	w.settle()
	if len(w.runs()) != 1 || !w.ready() {
		t.Errorf("ready: %v, Runs: %v", w.ready(), names(w.runs()))
	}
}

func TestARunOfTheWantedNameThatIsNotOurs(t *testing.T) {
	first := newWorld(t, vpn().Obj())
	first.settle()
	name := first.runs()[0].Name // it follows from the cause alone
	w := newWorld(t, vpn().Obj(), testkit.Run("other", name).Manual().Obj())
	for range 3 {
		_ = w.pass() // an error each time, tried again with backoff
	}
	c := apimeta.FindStatusCondition(w.workspace().Status.Conditions, v1alpha1.ConditionReady)
	if c.Reason != v1alpha1.ReasonNameConflict {
		t.Errorf("Ready says %s: %s", c.Reason, c.Message)
	}
	w.must(w.base.Delete(t.Context(), w.run(name)))
	lifecycle(w)
}
