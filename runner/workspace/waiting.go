package workspace

import (
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
)

// hindrance is what a Run waits for that has no Pod yet, or whose Pod has no node; empty for nothing.
func hindrance(r *v1alpha1.Run) string {
	c := phase(r)
	switch c.Reason {
	case v1alpha1.ReasonLaunching, v1alpha1.ReasonRunning, v1alpha1.ReasonCanceling, v1alpha1.ReasonPodGone:
		return ""
	}
	return c.Message
}

// phase is what an unfinished Run says of itself; empty before it has said anything.
func phase(r *v1alpha1.Run) metav1.Condition {
	if c := apimeta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionSucceeded); c != nil {
		return *c
	}
	return metav1.Condition{}
}
