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

// emptying is a person's Run that destroys.
func emptying() *testkit.RunBuilder {
	return made("m").Manual().Operation(v1alpha1.OperationDestroy).Launched(testkit.At(2 * time.Minute))
}

// TestDestroyedByHand: what is said then, and what brings it back.
func TestDestroyedByHand(t *testing.T) {
	no, unknown := metav1.ConditionFalse, metav1.ConditionUnknown
	gone := emptying().Ended(job.Applied, testkit.At(3*time.Minute))
	hour := testkit.At(time.Hour)
	tick := func(class job.Class) *testkit.RunBuilder {
		return made("t").Tick(hour).Operation(v1alpha1.OperationPlan).Launched(hour).Ended(class, hour).
			With(func(r *v1alpha1.Run) { r.Status.Changes = &v1alpha1.Changes{Add: 2} })
	}
	for _, test := range []struct {
		name    string
		scene   scene
		want    told
		makes   v1alpha1.TriggerKind
		drifted metav1.ConditionStatus
	}{
		{"it goes on", scene{workspace: ready(), runs: runs{ended("a", job.Applied), emptying()}},
			told{unknown, "Progressing", "Progressing", "", "InProgress"}, "", metav1.ConditionFalse},
		{"it is done", scene{workspace: ready(), runs: runs{ended("a", job.Applied), gone}},
			told{no, "Destroyed", "", "Destroyed", "Failed"}, "", ""},
		{"it failed, and is tried again", scene{workspace: ready(), after: time.Hour, runs: runs{ended("a", job.Applied),
			emptying().Ended(job.Transient, testkit.At(3*time.Minute))}},
			told{no, "Transient", "Progressing", "", "InProgress"}, v1alpha1.TriggerRetry, metav1.ConditionFalse},
		{"a rerun brings it back", scene{workspace: ready().Rerun("1"), runs: runs{ended("a", job.Applied), gone}},
			told{unknown, "Progressing", "Progressing", "", "InProgress"}, v1alpha1.TriggerRerun, ""},
		{"a change too", scene{workspace: ready().Generation(2), digest: other, runs: runs{ended("a", job.Applied), gone}},
			told{unknown, "Progressing", "Progressing", "", "InProgress"}, v1alpha1.TriggerChange, ""},
		{"an edit that changes no input doesn't", scene{workspace: ready().Generation(2),
			runs: runs{ended("a", job.Applied), gone}}, told{no, "Destroyed", "", "Destroyed", "Failed"}, "", ""},
		{"a scheduled correction does", scene{workspace: ready().Schedule("@hourly"), after: time.Hour,
			runs: runs{ended("a", job.Applied), gone}},
			told{unknown, "Progressing", "Progressing", "", "InProgress"}, v1alpha1.TriggerSchedule, ""},
		{"a scheduled report says what is missing", scene{workspace: ready().Schedule("@hourly").Report(),
			after: 61 * time.Minute, runs: runs{ended("a", job.Applied), gone, tick(job.Planned)}},
			told{no, "Destroyed", "", "Destroyed", "Failed"}, "", metav1.ConditionTrue},
		{"suspended it stays away", scene{workspace: ready().Schedule("@hourly").Suspend(), after: time.Hour,
			runs: runs{ended("a", job.Applied), gone}}, told{no, "Destroyed", "", "", "InProgress"}, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := test.scene.input()
			d := Next(in)
			summarize(in, d)
			if diff := cmp.Diff(test.want, tell(in.Workspace)); diff != "" || d.Trigger.Kind != test.makes {
				t.Errorf("makes %q; %s", d.Trigger.Kind, diff)
			}
			var drifted metav1.ConditionStatus
			if c := apimeta.FindStatusCondition(in.Workspace.Status.Conditions, v1alpha1.ConditionDrifted); c != nil {
				drifted = c.Status
			}
			if drifted != test.drifted {
				t.Errorf("Drifted is %q", drifted)
			}
		})
	}
}
