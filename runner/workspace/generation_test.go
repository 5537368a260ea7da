package workspace

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

// edited is one whose spec was edited while a check goes on, as its status says already.
func edited() *testkit.WorkspaceBuilder {
	return ready().Generation(2).With(func(w *v1alpha1.Workspace) {
		w.Status = summed(scene{workspace: ready().Generation(2), digest: other, runs: runs{
			ended("a", job.Applied), made("b").Tick(testkit.At(time.Hour)).Launched(testkit.At(time.Hour)),
		}}).Status
	})
}

// other is the digest of other inputs than testkit.Digest.
const other = "fedcba9876543210"

// TestSummarize_Generations: Ready speaks of the generation that was applied.
func TestSummarize_Generations(t *testing.T) {
	yes, no, unknown := metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionUnknown
	going := func(kind v1alpha1.TriggerKind) *testkit.RunBuilder {
		return made("b").Trigger(kind, "x").Launched(testkit.At(time.Hour))
	}
	for _, test := range []struct {
		name  string
		scene scene
		want  told
	}{
		{"a drift check goes on, and the spec is edited: nobody knows", scene{workspace: ready().Generation(2),
			digest: other, runs: runs{ended("a", job.Applied), going(v1alpha1.TriggerSchedule)}},
			told{unknown, "Progressing", "Progressing", "", "InProgress"}},
		{"a rerun goes on, and the spec is edited", scene{workspace: ready().Generation(2), digest: other,
			runs: runs{ended("a", job.Applied), going(v1alpha1.TriggerRerun)}},
			told{unknown, "Progressing", "Progressing", "", "InProgress"}},
		{"and so it stays until that Run's end", scene{workspace: edited(), digest: other,
			runs: runs{ended("a", job.Applied), going(v1alpha1.TriggerSchedule)}},
			told{unknown, "Progressing", "Progressing", "", "InProgress"}},
		{"and then a Run follows", scene{workspace: edited(), digest: other, after: 2 * time.Hour,
			runs: runs{ended("a", job.Applied),
				going(v1alpha1.TriggerSchedule).Ended(job.NoChanges, testkit.At(61*time.Minute))}},
			told{unknown, "Progressing", "Progressing", "", "InProgress"}},
		{"an edit that changes no input, during a check", scene{workspace: ready().Generation(2),
			runs: runs{ended("a", job.Applied), going(v1alpha1.TriggerSchedule)}}, told{yes, "Applied", "", "", "Current"}},
		{"an edit of what is missing, during a check", scene{workspace: ready().Generation(2), missing: "x",
			runs: runs{ended("a", job.Applied), going(v1alpha1.TriggerSchedule)}},
			told{unknown, "Progressing", "Progressing", "", "InProgress"}},
		{"a rerun is about to be made, of other inputs", scene{workspace: ready().Generation(2).Rerun("1"), digest: other,
			runs: runs{ended("a", job.Applied)}}, told{unknown, "Progressing", "Progressing", "", "InProgress"}},
		{"edited while suspended", scene{workspace: ready().Generation(2).Suspend(), digest: other,
			runs: runs{ended("a", job.Applied)}}, told{no, "Suspended", "", "", "InProgress"}},
		{"a Secret that it names changed while suspended", scene{workspace: ready().Suspend(), digest: other,
			runs: runs{ended("a", job.Applied)}}, told{no, "Suspended", "", "", "InProgress"}},
		{"edited while suspended, and its Runs are gone", scene{workspace: ready().Generation(2).Suspend(), digest: other},
			told{no, "Suspended", "", "", "InProgress"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := summed(test.scene)
			if diff := cmp.Diff(test.want, tell(w)); diff != "" {
				t.Error(diff)
			}
			if c := readyNow(w); c.ObservedGeneration != w.Generation {
				t.Errorf("Ready speaks of generation %d", c.ObservedGeneration)
			}
		})
	}
}

// TestSummarize_DriftedSpeaksOfWhatWasCompared: the spec was edited since.
func TestSummarize_DriftedSpeaksOfWhatWasCompared(t *testing.T) {
	w := summed(scene{workspace: vpn().Generation(3), digest: other, runs: runs{ended("a", job.Applied).Given(other, 2)}})
	c := apimeta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionDrifted)
	if c.Status != metav1.ConditionFalse || c.ObservedGeneration != 2 {
		t.Errorf("got %+v", c)
	}
}
