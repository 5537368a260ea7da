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

// expectReady holds what Ready says, and how many Pods are at work.
func (w *world) expectReady(when string, status metav1.ConditionStatus, of int64, pods int) {
	w.t.Helper()
	if s, g := w.readyFor(); s != status || g != of || len(w.live()) != pods {
		w.t.Errorf("%s: Ready is %s for generation %d, with %d Pods at work", when, s, g, len(w.live()))
	}
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
	w.expectReady("a check goes on", metav1.ConditionTrue, 1, 1)
	w.respec(resize("2"))
	w.settle()
	w.expectReady("edited during a check", metav1.ConditionUnknown, 2, 1)
	w.finish(w.live()[0], job.Result{Class: job.NoChanges})
	w.settle()
	w.expectReady("the change is on its way", metav1.ConditionUnknown, 2, 1)
	w.finish(w.live()[0], job.Result{Class: job.Applied})
	w.settle()
	w.expectReady("applied", metav1.ConditionTrue, 2, 0)

	w.respec(func(o *v1alpha1.Workspace) { resize("3")(o); o.Spec.Suspend = true })
	w.settle()
	w.expectReady("edited while suspended", metav1.ConditionFalse, 3, 0)
	w.respec(resize("2"))
	w.settle()
	w.expectReady("edited back", metav1.ConditionTrue, 4, 0)
}
