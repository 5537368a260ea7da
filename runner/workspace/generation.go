package workspace

import (
	"fmt"
	"slices"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
)

// asksForDigest tells whether the pass needs to know what is asked for now. While a check goes on it needn't, as long
// as the spec is the one that Ready speaks of.
func (in *Input) asksForDigest() bool {
	if in.Workspace.DeletionTimestamp != nil {
		return false
	}
	return in.Active == nil || !changing(*in, Decision{}) && !spoken(in.Workspace, readyNow(in.Workspace))
}

func readyNow(w *v1alpha1.Workspace) *metav1.Condition {
	return apimeta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionReady)
}

// spoken tells whether a condition speaks of the present generation.
func spoken(w *v1alpha1.Workspace, c *metav1.Condition) bool {
	return c != nil && c.ObservedGeneration == w.Generation
}

// tried is the digest of what was tried last, and the Run that tried it.
func tried(in Input) (digest, run string) {
	switch applied := in.Workspace.Status.Applied; {
	case in.Last != nil:
		return in.Last.Status.InputsDigest, in.Last.Name
	case applied != nil:
		return applied.InputsDigest, applied.Run
	}
	return "", "nothing"
}

// current tells whether what is asked for now is what was tried last.
func current(in Input) bool {
	digest, _ := tried(in)
	return digest == in.Digest
}

// meanwhile is what Ready says while a Run goes on that nothing depends on: what it said before, as long as that speaks
// of what is asked for now.
func meanwhile(in Input, c metav1.Condition) metav1.Condition {
	old := readyNow(in.Workspace)
	if old != nil && lasting(*old) && (spoken(in.Workspace, old) || current(in)) {
		return *old
	}
	c.Status, c.Reason, c.Message = metav1.ConditionUnknown, v1alpha1.ReasonProgressing, progress(in.Active)
	if old != nil && !spoken(in.Workspace, old) {
		c.Message += fmt.Sprintf("; generation %d comes after it", in.Workspace.Generation)
	}
	return c
}

// lasting tells whether a Run that goes on leaves Ready as it was.
func lasting(c metav1.Condition) bool {
	return c.Status == metav1.ConditionTrue || c.Status == metav1.ConditionFalse &&
		slices.Contains([]string{
			v1alpha1.ReasonNameConflict, v1alpha1.ReasonRefused, string(job.QuotaExceeded), string(job.StateUnavailable),
		}, c.Reason)
}

// ahead is what Ready says when something else is asked for than was applied: a Run follows, unless they are suspended.
func ahead(in Input, d Decision, c metav1.Condition) metav1.Condition {
	if d.Do == Create {
		c.Status, c.Reason, c.Message = metav1.ConditionUnknown, v1alpha1.ReasonProgressing, change(in, d)
		return c
	}
	_, run := tried(in)
	c.Message += fmt.Sprintf(", and what is asked for now (generation %d) is something else than what Run %s applied",
		in.Workspace.Generation, run)
	return c
}

// progress says what an unfinished Run does.
func progress(r *v1alpha1.Run) string {
	name := fmt.Sprintf("Run %s (%s, %s)", r.Name, r.Spec.Operation, r.Spec.Trigger.Kind)
	if why := hindrance(r); why != "" {
		return name + " waits: " + why
	}
	return name + " goes on"
}
