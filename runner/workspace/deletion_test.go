package workspace

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/internal/testkit"
)

func deletion(n int32) *testkit.RunBuilder {
	name := fmt.Sprintf("destroy-%d", n)
	return made(name).Operation(v1alpha1.OperationDestroy).Trigger(v1alpha1.TriggerDeletion, name).Attempt(n)
}

// destroyedBy is a deletion's Run that ended n minutes after the Workspace's deletion.
func destroyedBy(n int32, class job.Class) *testkit.RunBuilder {
	at := testkit.At(time.Hour + time.Duration(n)*time.Minute)
	return deletion(n).Launched(at).Given(testkit.Digest, 2).Ended(class, at)
}

// inS3 is a Run whose state lies in a backend that isn't Plumbline's own.
func inS3(r *testkit.RunBuilder) *testkit.RunBuilder {
	return r.With(func(r *v1alpha1.Run) { r.Status.Backend = &v1alpha1.StatePlace{Type: "s3", Digest: "d"} })
}

// unlocking is a Workspace with a backend of its own whose lock is to be released.
func unlocking(id string) *testkit.WorkspaceBuilder {
	return vpn().With(func(w *v1alpha1.Workspace) {
		w.Spec.Backend = &v1alpha1.Backend{Type: "s3"}
		w.Annotations = map[string]string{v1alpha1.AnnotationUnlock: id}
	})
}

func releasing(d Decision, id string) Decision {
	d.Unlock = id
	return d
}

func TestNext_Deletion(t *testing.T) {
	hour := time.Hour
	destroying := func(n int32) Decision { return dismantle(n) }
	for _, test := range []struct {
		name  string
		scene scene
		want  Decision
	}{
		{"nothing was ever made", scene{workspace: vpn().Deleting()}, destroying(1)},
		{"something was applied", scene{workspace: vpn().Deleting(), runs: runs{ended("a", job.Applied)}, after: hour},
			destroying(1)},
		{"a suspended one is taken apart all the same", scene{workspace: vpn().Suspend().Deleting(), after: hour},
			destroying(1)},
		{"one whose inputs are missing too", scene{workspace: vpn().Deleting(), missing: "x", after: hour}, destroying(1)},
		{"one whose schedule is none too", scene{workspace: vpn().Schedule("foo").Deleting(), after: hour}, destroying(1)},
		{"a Run that goes on is canceled first",
			scene{workspace: vpn().Deleting(), runs: runs{made("a").Launched(testkit.Epoch)}},
			Decision{Do: Cancel, Reason: v1alpha1.ReasonDestroying, Message: "Run a goes on"}},
		{"a person's Run is canceled too", scene{workspace: vpn().Deleting(), runs: runs{made("m").Manual()}},
			Decision{Do: Cancel, Reason: v1alpha1.ReasonDestroying, Message: "Run m goes on"}},
		{"once is enough", scene{workspace: vpn().Deleting(), runs: runs{made("a").Launched(testkit.Epoch).Cancel()}},
			Decision{Do: Wait, Reason: v1alpha1.ReasonDestroying, Message: "Run a goes on"}},
		{"the destruction goes on",
			scene{workspace: vpn().Deleting(), runs: runs{deletion(1).Launched(testkit.At(hour))}, after: hour},
			Decision{Do: Wait, Reason: v1alpha1.ReasonDestroying, Message: "Run destroy-1 goes on"}},
		{"the destruction ended well",
			scene{workspace: vpn().Deleting(), runs: runs{destroyedBy(1, job.Applied)}, after: hour + time.Minute},
			destroying(2)},
		{"twice, and something is still there: no storm", scene{workspace: vpn().Deleting(), after: hour + 2*time.Minute,
			runs: runs{destroyedBy(1, job.Applied), destroyedBy(2, job.NoChanges)}},
			Decision{Do: Wait, At: testkit.At(hour + 2*time.Minute + 30*time.Second), Reason: v1alpha1.ReasonDestroying,
				Message: "Run destroy-2 ended well, and the state is not empty"}},
		{"but another try after the delay", scene{workspace: vpn().Deleting(), after: hour + 3*time.Minute,
			runs: runs{destroyedBy(1, job.Applied), destroyedBy(2, job.NoChanges)}}, destroying(3)},
		{"a failure, then a success: asked at once whether it is empty",
			scene{workspace: vpn().Deleting(), after: hour + 2*time.Minute,
				runs: runs{destroyedBy(1, job.Transient), destroyedBy(2, job.Applied)}}, destroying(3)},
		{"in a backend that can't be asked the end of the destruction is the end",
			scene{workspace: vpn().Deleting(), runs: runs{inS3(ended("a", job.Applied)), inS3(destroyedBy(1, job.Applied))},
				after: hour + time.Minute}, Decision{Do: Dismiss}},
		{"but no failed one is",
			scene{workspace: vpn().Deleting(), runs: runs{inS3(ended("a", job.Applied)), inS3(destroyedBy(1, job.ApplyFailed))},
				after: 2 * hour}, destroying(2)},
		{"which may be locked: the lock is released by request",
			scene{workspace: unlocking("7").Deleting(),
				runs:  runs{inS3(ended("a", job.Applied)), inS3(destroyedBy(1, job.StateLocked))},
				after: hour + time.Minute}, releasing(destroying(2), "7")},
		{"the destruction failed, and waits for its delay",
			scene{workspace: vpn().Deleting(), runs: runs{destroyedBy(1, job.Transient)}, after: hour + time.Minute},
			Decision{Do: Wait, At: testkit.At(hour + time.Minute + 15*time.Second), Reason: "Transient",
				Message: "it ended as Transient"}},
		{"the destruction is tried again",
			scene{workspace: vpn().Deleting(), runs: runs{destroyedBy(1, job.Transient)}, after: 2 * hour}, destroying(2)},
		{"the destruction needs a person",
			scene{workspace: vpn().Deleting(), runs: runs{destroyedBy(1, job.ConfigInvalid)}, after: 2 * hour},
			Decision{Do: Wait, Stalled: true, Reason: "ConfigInvalid", Message: "it ended as ConfigInvalid"}},
		{"who then changes the spec",
			scene{workspace: vpn().Deleting().Generation(3), runs: runs{destroyedBy(1, job.ConfigInvalid)}, after: 2 * hour},
			destroying(2)},
		{"or asks for another try",
			scene{workspace: vpn().Rerun("1").Deleting(), runs: runs{destroyedBy(1, job.ConfigInvalid)}, after: 2 * hour},
			destroying(2)},
		{"which is one try and no storm",
			scene{workspace: vpn().Rerun("1").Deleting().With(func(w *v1alpha1.Workspace) { w.Status.LastRerun = "1" }),
				runs: runs{destroyedBy(1, job.ConfigInvalid), destroyedBy(2, job.ConfigInvalid)}, after: 2 * hour},
			Decision{Do: Wait, Stalled: true, Reason: "ConfigInvalid", Message: "it ended as ConfigInvalid"}},
		{"or says Orphan after all",
			scene{workspace: vpn().Orphan().Deleting().Generation(3), runs: runs{destroyedBy(1, job.ConfigInvalid)},
				after: 2 * hour},
			Decision{Do: Release}},
		{"or says so while it is being destroyed",
			scene{workspace: vpn().Orphan().Deleting(), runs: runs{deletion(1).Launched(testkit.At(hour))}, after: hour},
			Decision{Do: Cancel, Reason: v1alpha1.ReasonDestroying, Message: "Run destroy-1 goes on"}},
		{"Orphan lets go at once",
			scene{workspace: vpn().Orphan().Deleting(), runs: runs{ended("a", job.Applied)}, after: hour},
			Decision{Do: Release}},
		{"Orphan waits for the end of what goes on",
			scene{workspace: vpn().Orphan().Deleting(), runs: runs{made("a").Launched(testkit.Epoch).Cancel()}},
			Decision{Do: Wait, Reason: v1alpha1.ReasonDestroying, Message: "Run a goes on"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, Next(test.scene.input())); diff != "" {
				t.Error(diff)
			}
		})
	}
}
