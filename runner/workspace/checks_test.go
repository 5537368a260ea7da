package workspace

import (
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/internal/testkit"
)

// TestSummarize_Checks: failing checks are a condition with their messages, which heals; Ready is another question.
func TestSummarize_Checks(t *testing.T) {
	const high = `main.tf:9: check "level": the water is high`
	at := testkit.At(time.Hour)
	with := func(c *v1alpha1.Checks) func(*v1alpha1.Run) { return func(r *v1alpha1.Run) { r.Status.Checks = c } }
	fails := func() *testkit.RunBuilder {
		return ended("a", job.Applied).With(with(&v1alpha1.Checks{Failed: 1, Messages: []string{high}}))
	}
	tick := func(class job.Class, c *v1alpha1.Checks) *testkit.RunBuilder {
		return made("t").Tick(at).Operation(v1alpha1.OperationPlan).Launched(at).Ended(class, at).With(with(c))
	}
	for _, test := range []struct {
		name    string
		runs    runs
		before  *metav1.Condition
		want    metav1.ConditionStatus
		message string
	}{
		{name: "none are known", runs: runs{ended("a", job.Applied)}},
		{name: "one fails", runs: runs{fails()}, want: metav1.ConditionFalse, message: high},
		{name: "all pass", runs: runs{ended("a", job.Applied).With(with(&v1alpha1.Checks{}))}, want: metav1.ConditionTrue,
			message: "no check fails"},
		{name: "healed", runs: runs{fails(), tick(job.NoChanges, &v1alpha1.Checks{})}, want: metav1.ConditionTrue,
			message: "no check fails"},
		{name: "healed, as far as is known", runs: runs{tick(job.NoChanges, nil)}, want: metav1.ConditionTrue,
			before:  &metav1.Condition{Type: v1alpha1.ConditionChecksPassed, Status: metav1.ConditionFalse},
			message: "no check fails"},
		{name: "a Run that failed compared nothing", want: metav1.ConditionFalse, message: high,
			runs: runs{fails(), tick(job.PlanFailed, nil)}},
		{name: "more than are listed", want: metav1.ConditionFalse, message: "a; b; and 5 more",
			runs: runs{tick(job.NoChanges, &v1alpha1.Checks{Failed: 7, Messages: []string{"a", "b"}})}},
		{name: "none of which is listed", want: metav1.ConditionFalse, message: "7 more",
			runs: runs{tick(job.NoChanges, &v1alpha1.Checks{Failed: 7})}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := vpn().Schedule("@hourly").Report()
			if test.before != nil {
				w.With(func(w *v1alpha1.Workspace) { w.Status.Conditions = []metav1.Condition{*test.before} })
			}
			s := summed(scene{workspace: w, runs: test.runs, after: 90 * time.Minute}).Status
			got := apimeta.FindStatusCondition(s.Conditions, v1alpha1.ConditionChecksPassed)
			if got == nil {
				got = &metav1.Condition{}
			}
			if got.Status != test.want || got.Message != test.message {
				t.Errorf("got %q: %s", got.Status, got.Message)
			}
		})
	}
}
