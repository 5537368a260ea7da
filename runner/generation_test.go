package runner

import (
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
)

// readyFor is what Ready says, and of which generation.
func (w *world) readyFor() (metav1.ConditionStatus, int64) {
	w.t.Helper()
	c := apimeta.FindStatusCondition(w.workspace().Status.Conditions, v1alpha1.ConditionReady)
	return c.Status, c.ObservedGeneration
}

// respec edits the spec as the API server takes it: the generation rises.
func (w *world) respec(change func(*v1alpha1.Workspace)) {
	w.t.Helper()
	w.edit(func(o *v1alpha1.Workspace) {
		change(o)
		o.Generation++
	})
}

// TestReadyMeansThisGeneration: the spec is edited while a check goes on, and while it is suspended.
func TestReadyMeansThisGeneration(t *testing.T) {
	w := newWorld(t, vpn().Schedule("@hourly").Value("size", "1").Obj())
	w.drive("Ready", w.ready)
	resize := func(size string) func(*v1alpha1.Workspace) {
		return func(o *v1alpha1.Workspace) { o.Spec.Variables = vpn().Value("size", size).Obj().Spec.Variables }
	}

	w.clock.Step(time.Hour)
	w.settle()
	if status, of := w.readyFor(); status != metav1.ConditionTrue || of != 1 || len(w.live()) != 1 {
		t.Fatalf("while a check goes on Ready is %s for generation %d", status, of)
	}
	w.respec(resize("2"))
	w.settle()
	if status, of := w.readyFor(); status != metav1.ConditionUnknown || of != 2 {
		t.Errorf("edited during a check, Ready is %s for generation %d", status, of)
	}
	w.finish(w.live()[0], job.Result{Class: job.NoChanges})
	w.settle()
	if status, of := w.readyFor(); status != metav1.ConditionUnknown || of != 2 || len(w.live()) != 1 {
		t.Errorf("with the change on its way, Ready is %s for generation %d", status, of)
	}
	w.finish(w.live()[0], job.Result{Class: job.Applied})
	w.settle()
	if status, of := w.readyFor(); status != metav1.ConditionTrue || of != 2 {
		t.Errorf("applied, Ready is %s for generation %d", status, of)
	}

	w.respec(func(o *v1alpha1.Workspace) { resize("3")(o); o.Spec.Suspend = true })
	w.settle()
	if status, of := w.readyFor(); status != metav1.ConditionFalse || of != 3 {
		t.Errorf("edited while suspended, Ready is %s for generation %d", status, of)
	}
	w.respec(resize("2"))
	w.settle()
	if status, of := w.readyFor(); status != metav1.ConditionTrue || of != 4 {
		t.Errorf("edited back, Ready is %s for generation %d", status, of)
	}
}
