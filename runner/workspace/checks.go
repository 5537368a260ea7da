package workspace

import (
	"fmt"
	"strings"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
)

// checks follows the last Run that compared: its failing check blocks make ChecksPassed False, and the next comparison
// in which none fails makes it True again. A Workspace of which no checks are known has no such condition; Ready
// doesn't depend on it, as Terraform doesn't fail for a check.
func checks(in Input) {
	r := in.Compared
	if r == nil {
		return
	}
	conditions := &in.Workspace.Status.Conditions
	passed := metav1.Condition{
		Type: v1alpha1.ConditionChecksPassed, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonChecksPassed,
		ObservedGeneration: compared(r, in.Workspace), Message: "no check fails",
	}
	switch c := r.Status.Checks; {
	case c != nil && c.Failed > 0:
		passed.Status, passed.Reason, passed.Message = metav1.ConditionFalse, v1alpha1.ReasonChecksFailed, failing(c)
	case c == nil && apimeta.FindStatusCondition(*conditions, passed.Type) == nil:
		return
	}
	apimeta.SetStatusCondition(conditions, passed)
}

func failing(c *v1alpha1.Checks) string {
	text := strings.Join(c.Messages, "; ")
	if more := int(c.Failed) - len(c.Messages); more > 0 {
		text = strings.TrimPrefix(fmt.Sprintf("%s; and %d more", text, more), "; and ")
	}
	return text
}
