package run

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/internal/testkit"
)

func TestFinished_TakesOverTheResult(t *testing.T) {
	r := launched().Obj()
	finished(r, Decision{Class: job.Applied, Result: &job.Result{
		Class: job.Applied, OutputsDigest: "d", StateSerial: 7,
		Changes:  &job.Changes{Add: 1, Change: 2, Destroy: 3, Forget: 4},
		Warnings: &job.Warnings{Total: 9, First: []string{"Value for undeclared variable"}},
		Checks:   &job.Checks{Failed: 1, Messages: []string{"check.level: the water is high"}},
		Steps:    []job.Step{{Name: "plan", Attempts: 2, Duration: 1234567890}},
		Drift:    []job.Drift{{Address: "a.b"}}, DriftTotal: 30,
	}}, testkit.At(95*time.Second))
	at := metav1.NewTime(testkit.At(95 * time.Second))
	want := v1alpha1.RunStatus{
		Conditions: []metav1.Condition{{
			Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionTrue, Reason: "Applied", Message: "changes: +1 ~2 -3 .4",
			ObservedGeneration: 1,
		}},
		StartedAt: r.Status.StartedAt, FinishedAt: &at, Duration: "1m35s", PodName: "vpn-1",
		InputsDigest: testkit.Digest, WorkspaceGeneration: 1, OutputsDigest: "d", StateSerial: 7, Class: "Applied",
		Changes:  &v1alpha1.Changes{Add: 1, Change: 2, Destroy: 3, Forget: 4, Summary: "+1 ~2 -3 .4"},
		Warnings: &v1alpha1.Warnings{Total: 9, First: []string{"Value for undeclared variable"}},
		Checks:   &v1alpha1.Checks{Failed: 1, Messages: []string{"check.level: the water is high"}},
		Steps: []v1alpha1.RunStep{{Name: "plan", Attempts: 2,
			Duration: metav1.Duration{Duration: 1235 * time.Millisecond}}},
		Drift: &v1alpha1.DriftStatus{DetectedAt: at, Total: 30, Resources: []v1alpha1.DriftedResource{
			{Address: "a.b", Actions: []string{}}, // null would be refused
		}},
	}
	r.Status.Conditions[0].LastTransitionTime = metav1.Time{}
	if diff := cmp.Diff(want, r.Status); diff != "" {
		t.Error(diff)
	}
}

func TestFinished_EveryClassIsTheConditionsReason(t *testing.T) {
	for _, class := range job.Classes() {
		r := launched().Obj()
		finished(r, Decision{Class: class, Message: "m"}, testkit.Epoch)
		c := apimeta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionSucceeded)
		if c.Reason != string(class) || (c.Status == metav1.ConditionTrue) != class.Succeeded() || !Finished(r) {
			t.Errorf("%s: got %+v", class, c)
		}
	}
}

func TestChanges(t *testing.T) {
	got := changes(job.Changes{Add: 1 << 40, Import: 2})
	if want := (&v1alpha1.Changes{Add: 1<<31 - 1, Import: 2, Summary: "+1099511627776 ~0 -0 <2"}); !cmp.Equal(want, got) {
		t.Error(cmp.Diff(want, got))
	}
}
