package workspace

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/internal/testkit"
)

func lastTick(after time.Duration) func(*v1alpha1.Workspace) {
	return func(w *v1alpha1.Workspace) { w.Status.LastScheduleTime = new(metav1.NewTime(testkit.At(after))) }
}

func numbered(r *testkit.RunBuilder, n int64) *testkit.RunBuilder {
	return r.With(func(r *v1alpha1.Run) { r.Status.Sequence = n })
}

// TestNext_Clocks: the clock has stepped back by up to an hour, or somebody wrote what it never said.
func TestNext_Clocks(t *testing.T) {
	const minute = time.Minute
	hour := testkit.At(time.Hour)
	created := func(kind v1alpha1.TriggerKind, key string, attempt int32) Decision {
		d := create(kind, key)
		d.Attempt = attempt
		return d
	}
	tick := func(name string, at time.Duration) *testkit.RunBuilder {
		return made(name).Tick(testkit.At(at)).Launched(hour).Ended(job.NoChanges, hour)
	}
	for _, test := range []struct {
		name  string
		scene scene
		want  Decision
	}{
		{"ticks of a time that has not come stop no check", scene{workspace: vpn().Schedule("@every 10m").
			With(lastTick(90 * minute)), runs: runs{ended("a", job.Applied)}, after: 30 * minute},
			created(v1alpha1.TriggerSchedule, "2026-03-01T12:30:00Z", 1)},
		{"a year that has not come neither", scene{workspace: vpn().Schedule("@every 10m").
			With(lastTick(100 * 365 * 24 * time.Hour)), runs: runs{ended("a", job.Applied)}, after: 30 * minute},
			created(v1alpha1.TriggerSchedule, "2026-03-01T12:30:00Z", 1)},
		{"nor does a Run of such a tick, and its tick is over", scene{workspace: vpn().Schedule("@every 10m"),
			runs: runs{ended("a", job.Applied), tick("t", 80*minute), tick("u", 90*minute)}, after: 80 * minute},
			Decision{Do: Wait, At: testkit.At(100 * minute)}},
		{"another controller's clock may be a little ahead", scene{workspace: vpn().Schedule("@every 10m").
			With(lastTick(30 * minute)), runs: runs{ended("a", job.Applied)}, after: 30*minute - time.Second},
			Decision{Do: Wait, At: testkit.At(40 * minute)}},
		{"a Workspace of a time that has not come is checked all the same", scene{workspace: vpn().Schedule("@every 10m").
			With(func(w *v1alpha1.Workspace) { w.CreationTimestamp = metav1.NewTime(hour) }),
			runs: runs{ended("a", job.Applied)}, after: 5 * minute}, Decision{Do: Wait, At: testkit.At(10 * minute)}},
		{"a failure of a time that has not come is tried again now", scene{workspace: vpn(), runs: runs{
			made("a").Launched(hour).Ended(job.Transient, hour)}, after: 5 * minute}, created(v1alpha1.TriggerRetry, "a", 2)},
		{"the last Run is the last one by its number", scene{workspace: vpn(), runs: runs{
			numbered(made("a").Launched(hour).Given(other, 1).Ended(job.Applied, hour), 1),
			numbered(ended("b", job.Applied), 2),
		}}, Decision{Do: Wait}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, Next(test.scene.input())); diff != "" {
				t.Error(diff)
			}
		})
	}
}
