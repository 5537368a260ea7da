package cli

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
)

func TestStatus(t *testing.T) {
	a := newAPI(t)
	full, bare := run("full", "", true), run("bare", "", true)
	full.Spec.Operation, full.Spec.Trigger.Kind = v1alpha1.OperationPlan, v1alpha1.TriggerSchedule
	full.Status.Changes = &v1alpha1.Changes{Summary: "+1 ~0 -0"}
	full.Status.Warnings = &v1alpha1.Warnings{Total: 7, First: []string{`Value for undeclared variable: "regoin"`}}
	full.Status.Checks = &v1alpha1.Checks{Failed: 1, Messages: []string{`check "level": the water is high`}}
	full.Status.Drift = &v1alpha1.DriftStatus{Total: 2, Resources: []v1alpha1.DriftedResource{
		{Address: "a.b", Actions: []string{"update"}}, {Address: "a.c", Actions: []string{"delete"}}}}
	bare.Spec.Operation, bare.Spec.Trigger.Kind = v1alpha1.OperationApply, v1alpha1.TriggerChange
	bare.Status.Checks = &v1alpha1.Checks{}
	a.hasRuns(full, bare)
	for name, want := range map[string]string{
		"full": `Run:      full (Plan, Schedule)
Result:   Pending: it waits
Changes:  +1 ~0 -0
Warnings: 7
  Value for undeclared variable: "regoin"
  and 6 more
Checks:   1 failed
  check "level": the water is high
Drift:    2
  a.b (update)
  a.c (delete)
`,
		"bare": `Run:      bare (Apply, Change)
Result:   Pending: it waits
Checks:   passed
`,
	} {
		got := a.plumbline(t, "", "status", "run/"+name)
		if diff := cmp.Diff(want, got.out); diff != "" || got.failed != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, got.failed, diff)
		}
	}
}
