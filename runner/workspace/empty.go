package workspace

import (
	"fmt"

	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
)

// empty tells whether everything was destroyed by hand, and nothing applied since.
func empty(in Input) bool {
	return in.Last != nil && in.Last.Spec.Operation == v1alpha1.OperationDestroy && succeeded(in.Last)
}

// emptied leaves alone what a person has destroyed. A rerun, a change and the schedule come before: each applies anew.
func emptied(in Input) (Decision, bool) {
	if !empty(in) {
		return Decision{}, false
	}
	return Decision{
		Do: Wait, At: in.NextTick, Stalled: true, Reason: v1alpha1.ReasonDestroyed, Message: emptiedBy(in.Last),
	}, true
}

func emptiedBy(r *v1alpha1.Run) string {
	return fmt.Sprintf("everything was destroyed by Run %s: a rerun, a change or a scheduled correction makes it anew, "+
		"and spec.suspend keeps it away", r.Name)
}

// comparison says what the last Run found that compared reality with what is asked for. A destruction compares nothing.
func comparison(in Input, s *v1alpha1.WorkspaceStatus) {
	if r := in.Compared; r != nil && r.Spec.Operation == v1alpha1.OperationDestroy {
		s.Drift = nil
		apimeta.RemoveStatusCondition(&s.Conditions, v1alpha1.ConditionDrifted)
		apimeta.RemoveStatusCondition(&s.Conditions, v1alpha1.ConditionChecksPassed)
		return
	}
	drift(in, s)
	checks(in)
}
