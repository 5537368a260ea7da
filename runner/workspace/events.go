package workspace

import (
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/runner/limits"
)

// announce tells what newly stands in the way. How Runs end is told by runner/run.
func (r *Reconciler) announce(before, after *v1alpha1.Workspace) {
	ready := apimeta.FindStatusCondition(after.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil || ready.Status != metav1.ConditionFalse {
		return
	}
	if last := after.Status.LastRun; last != nil && last.Result == ready.Reason {
		return
	}
	old := apimeta.FindStatusCondition(before.Status.Conditions, v1alpha1.ConditionReady)
	if old != nil && old.Reason == ready.Reason {
		return
	}
	r.Recorder.Eventf(after, nil, corev1.EventTypeWarning, ready.Reason, "Reconcile", "%s",
		limits.Note("%s", ready.Message))
}
