package run

import (
	"fmt"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/runner/names"
)

const (
	// mostAttempts is more than any controller counts to: beyond it a number was made up.
	mostAttempts = 1_000_000
	// ahead is by how much a tick may lie ahead of its Run: two machines' clocks differ.
	ahead = time.Hour
)

// Name is that of the Run which the controller makes for a cause: the same cause always gives the same name.
func Name(w *v1alpha1.Workspace, cause v1alpha1.RunSpec) string {
	return names.Join(w.Name, names.Hash(string(w.UID), string(cause.Trigger.Kind), cause.Trigger.Key,
		strconv.Itoa(int(cause.Attempt))))
}

// Doubt says why a Run is not what it claims to be; empty when it is. Whoever may create Runs may write any trigger and
// any owner into one, and decisions are made from both. A Run that passes is one that the controller would have made,
// or one that says openly that a person did.
func Doubt(w *v1alpha1.Workspace, r *v1alpha1.Run) string {
	switch owner := metav1.GetControllerOf(r); {
	case Foreign(w, r):
		return fmt.Sprintf("it belongs to an earlier Workspace %q, and this is another one", w.Name)
	case owner != nil && owner.UID != w.UID:
		return fmt.Sprintf("it is controlled by %s %q: create it without a controller in its ownerReferences",
			owner.Kind, owner.Name)
	case r.Spec.Attempt > mostAttempts:
		return "spec.attempt is counted by Plumbline: leave it out"
	case r.Spec.Trigger.Kind == v1alpha1.TriggerManual:
		return ""
	case owner == nil || r.Name != Name(w, r.Spec) || !shaped(r):
		return fmt.Sprintf("the trigger %s is Plumbline's own: leave spec.trigger out", r.Spec.Trigger.Kind)
	case r.Spec.Trigger.Kind == v1alpha1.TriggerDeletion && w.DeletionTimestamp == nil:
		return "it is for a deletion, and the Workspace is not being deleted"
	}
	return ""
}

// shaped tells whether a Run does what the controller would have it do for such a cause.
func shaped(r *v1alpha1.Run) bool {
	if len(r.Spec.Targets)+len(r.Spec.Replace) > 0 {
		return false
	}
	operation := r.Spec.Operation
	switch r.Spec.Trigger.Kind {
	case v1alpha1.TriggerDeletion:
		return operation == v1alpha1.OperationDestroy
	case v1alpha1.TriggerSchedule:
		tick, err := time.Parse(time.RFC3339, r.Spec.Trigger.Key)
		return err == nil && !tick.After(r.CreationTimestamp.Add(ahead)) &&
			(operation == v1alpha1.OperationApply || operation == v1alpha1.OperationPlan)
	case v1alpha1.TriggerRetry:
		return operation != v1alpha1.OperationRefresh
	}
	return operation == v1alpha1.OperationApply
}

// Believed tells whether decisions about the Workspace may be made from a Run. What was launched was believed then.
func Believed(w *v1alpha1.Workspace, r *v1alpha1.Run) bool {
	return !Foreign(w, r) && (r.Status.StartedAt != nil || Doubt(w, r) == "")
}

// AllBelieved are those of the Runs that decisions may be made from.
func AllBelieved(w *v1alpha1.Workspace, runs []v1alpha1.Run) []v1alpha1.Run {
	var believed []v1alpha1.Run
	for i := range runs {
		if Believed(w, &runs[i]) {
			believed = append(believed, runs[i])
		}
	}
	return believed
}
