//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/e2e/cloud"
	"github.com/plumbline-dev/plumbline/e2e/kit"
)

// The tests in this file harm what all share, so none of them is parallel: they come before all that are.

// moments are those of a Workspace's life at which a controller's death could double or lose something.
var moments = []struct {
	name string
	kind client.ObjectList
	// come tells whether the moment has come, from the objects of the kind that belong to the Workspace.
	come func(client.Object) bool
}{
	{"the Workspace was created", &v1alpha1.WorkspaceList{}, exists},
	{"the Run was created", &v1alpha1.RunList{}, exists},
	{"the Secret was created", &corev1.SecretList{}, exists},
	{"the intent was written", &v1alpha1.RunList{}, of(func(r *v1alpha1.Run) bool { return r.Status.StartedAt != nil })},
	{"the Pod was created", &corev1.PodList{}, exists},
	{"the Pod runs", &corev1.PodList{}, of(func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning })},
	{"the driver reported", &v1alpha1.RunList{}, of(func(r *v1alpha1.Run) bool { return r.Status.Reported != nil })},
	{"the Pod ended", &corev1.PodList{}, of(func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodSucceeded })},
}

func exists(client.Object) bool { return true }

func of[O client.Object](holds func(O) bool) func(client.Object) bool {
	return func(o client.Object) bool {
		typed, ok := o.(O)
		return ok && holds(typed)
	}
}

// TestControllerIsKilled at every moment that matters, with a Workspace for each: nothing is doubled, nothing lost.
func TestControllerIsKilled(t *testing.T) {
	s := suite.NewSpace(t)
	s.Faults(t, cloud.Fault{Op: cloud.Create, Kind: cloud.Delay, Seconds: 3})
	var all []*v1alpha1.Workspace
	for i, moment := range moments {
		name := fmt.Sprintf("w%d", i)
		w := s.Workspace(name, map[string]string{"main.tf": s.Provider() + kit.Thing(name, "1")})
		s.Create(t, w)
		s.AwaitAny(t, moment.kind, moment.name, func(o client.Object) bool {
			return (o.GetName() == name || o.GetLabels()[v1alpha1.LabelWorkspace] == name) && moment.come(o)
		})
		s.KillController(t)
		all = append(all, w)
	}
	for _, w := range all {
		s.AwaitReady(t, w)
		expectOneApply(t, s, w)
		awaitOutputs(t, s, w.Name+"-outputs", map[string]string{w.Name: "1"})
	}
	if n := s.Begun(t, cloud.Create); n != len(all) {
		t.Errorf("%d things were created for %d Workspaces", n, len(all))
	}
	s.Faults(t)
	// And once more while they are taken apart.
	for _, w := range all {
		if err := s.Delete(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	s.AwaitBegun(t, cloud.Delete, 1)
	s.KillController(t)
	for _, w := range all {
		s.AwaitGone(t, w)
	}
	if things := s.Things(t); len(things) > 0 {
		t.Errorf("left behind: %v", things)
	}
	s.AwaitComponent(t, "plumbline-controller")
}

// expectOneApply allows for a Run before it that never had a Pod: a controller that died after it had written its
// intent to create one leaves it open whether it did, and so the Run is given up.
func expectOneApply(t *testing.T, s *kit.Space, w *v1alpha1.Workspace) {
	t.Helper()
	runs := s.Runs(t, w)
	last := runs[len(runs)-1]
	if len(runs) > 2 || last.Status.Class != string(job.Applied) {
		t.Errorf("%s took %d Runs, the last ended as %s", w.Name, len(runs), last.Status.Class)
	}
	for _, r := range runs[:len(runs)-1] {
		hasPod := slices.ContainsFunc(s.Pods(t), func(p corev1.Pod) bool { return p.Name == r.Name })
		if r.Status.Class != string(job.PodLost) || hasPod {
			t.Errorf("Run %s ended as %s (has a Pod: %t)", r.Name, r.Status.Class, hasPod)
		}
	}
}

// TestTwoControllers that both believe to lead: one acts.
func TestTwoControllers(t *testing.T) {
	suite.SecondController(t)
	s := suite.NewSpace(t)
	var all []*v1alpha1.Workspace
	for i := range 5 {
		name := fmt.Sprintf("w%d", i)
		w := s.Workspace(name, map[string]string{"main.tf": s.Provider() + kit.Thing(name, "1")})
		s.Create(t, w)
		all = append(all, w)
	}
	for _, w := range all {
		s.AwaitReady(t, w)
		s.Rerun(t, w, "again")
		s.AwaitRun(t, w, "the rerun", func(r *v1alpha1.Run) bool { return r.Spec.Trigger.Kind == v1alpha1.TriggerRerun })
	}
	for _, w := range all {
		for _, r := range s.Runs(t, w) {
			if c := job.Class(r.Status.Class); !c.Succeeded() {
				t.Errorf("Run %s ended as %s: %s", r.Name, c, r.Status.Message)
			}
		}
		if runs := s.Runs(t, w); len(runs) != 2 {
			t.Errorf("%s has %d Runs, want one for the change and one for the rerun", w.Name, len(runs))
		}
		if err := s.Delete(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range all {
		s.AwaitGone(t, w)
	}
	if n := s.Begun(t, cloud.Create); n != len(all) {
		t.Errorf("%d things were created for %d Workspaces", n, len(all))
	}
}

// TestStateServiceIsKilled in mid-run: it costs nothing but a retry of a request.
func TestStateServiceIsKilled(t *testing.T) {
	s := suite.NewSpace(t)
	w, _ := started(t, s)
	s.Kill(t, kit.State)
	s.Faults(t) // Terraform goes on at once, with nobody to give its state to
	s.AwaitReady(t, w)
	s.AwaitComponent(t, "plumbline-state")
	expectOnce(t, s, 2)
	if runs := s.Runs(t, w); len(runs) != 1 || runs[0].Status.Class != string(job.Applied) {
		t.Errorf("it took %d Runs, the first ended as %s", len(runs), runs[0].Status.Class)
	}
	remove(t, s, w)
}

// TestStateServiceIsAway from before Terraform writes its state until it has nothing else to do: the state is kept for
// it, and the Run ends well.
func TestStateServiceIsAway(t *testing.T) {
	s := suite.NewSpace(t)
	w, _ := started(t, s)
	replicas := s.Scale(t, kit.StateDeployment, 0)
	back := sync.OnceFunc(func() { s.Scale(t, kit.StateDeployment, replicas) })
	t.Cleanup(back)
	s.AwaitComponent(t, kit.StateDeployment) // of which there is none now
	s.Faults(t)
	s.AwaitThings(t, 2) // nothing but the state is left to be done
	back()
	s.AwaitReady(t, w)
	s.AwaitComponent(t, kit.StateDeployment)
	expectOnce(t, s, 2)
	if runs := s.Runs(t, w); len(runs) != 1 || runs[0].Status.Class != string(job.Applied) {
		t.Errorf("it took %d Runs, the first ended as %s", len(runs), runs[0].Status.Class)
	}
	remove(t, s, w)
}

// TestKubeletIsKilled: it comes back and finds the Pod at work. While it is away a deleted Pod may still be at work, so
// the Run waits for its word.
func TestKubeletIsKilled(t *testing.T) {
	s := suite.NewSpace(t)
	w, run := started(t, s)
	if err := s.Cluster.KillComponent(t.Context(), "kubelet"); err != nil {
		t.Fatal(err)
	}
	s.Faults(t)
	s.AwaitReady(t, w)
	expectOnce(t, s, 2)
	if runs := s.Runs(t, w); len(runs) != 1 || runs[0].Name != run.Name {
		t.Errorf("it took %d Runs", len(runs))
	}

	before := s.Begun(t, cloud.Read)
	s.Faults(t, cloud.Fault{Op: cloud.Read, Kind: cloud.Hang})
	s.Rerun(t, w, "1")
	s.AwaitBegun(t, cloud.Read, before+1)
	run = s.AwaitPod(t, w)
	if err := s.Cluster.StopComponent(t.Context(), "kubelet"); err != nil {
		t.Fatal(err)
	}
	start := func(ctx context.Context) {
		if err := s.Cluster.StartComponent(ctx, "kubelet"); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() { start(kit.After(t)) })
	if err := s.Set.CoreV1().Pods(s.Name).Delete(t.Context(), run.Status.PodName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	kit.Await(t, s, run, func(r *v1alpha1.Run) bool {
		return len(r.Status.Conditions) > 0 && r.Status.Conditions[0].Reason == v1alpha1.ReasonCanceling
	})
	if run.Status.FinishedAt != nil || len(s.Runs(t, w)) != 2 {
		t.Error("the Run was given up while its Pod may be at work")
	}
	s.Faults(t)
	start(t.Context())
	kit.Await(t, s, run, func(r *v1alpha1.Run) bool { return r.Status.FinishedAt != nil })
	s.AwaitReady(t, w)
	expectOnce(t, s, 2)
}

// TestAPIServerIsAway for a minute, while one Workspace is being applied, one waits for its schedule and one is being
// deleted: everything resumes.
func TestAPIServerIsAway(t *testing.T) {
	s := suite.NewSpace(t)
	s.Patience = 3 * time.Minute // watches are set up again with a backoff that grows to a minute
	resting := s.Workspace("resting", map[string]string{"main.tf": s.Provider() + kit.Thing("resting", "1")},
		schedule("@every 20s", v1alpha1.DriftCorrect))
	leaving := s.Workspace("leaving", map[string]string{"main.tf": s.Provider() + kit.Thing("leaving", "1")})
	s.Create(t, resting, leaving)
	s.AwaitReady(t, resting)
	s.AwaitReady(t, leaving)
	s.Faults(t, cloud.Fault{Op: cloud.Create, Kind: cloud.Delay, Seconds: 15},
		cloud.Fault{Op: cloud.Delete, Kind: cloud.Delay, Seconds: 15})
	applying := s.Workspace("applying", map[string]string{"main.tf": s.Provider() + kit.Thing("applying", "1")})
	s.Create(t, applying)
	if err := s.Delete(t.Context(), leaving); err != nil {
		t.Fatal(err)
	}
	s.AwaitBegun(t, cloud.Create, 3)
	s.AwaitBegun(t, cloud.Delete, 1)
	applied := resting.Status.LastRun.FinishedAt
	s.StopAPIServer(t, time.Minute)
	s.Faults(t)
	s.AwaitReady(t, applying)
	s.AwaitGone(t, leaving)
	kit.Await(t, s, resting, func(w *v1alpha1.Workspace) bool {
		return kit.Ready(w) && w.Status.LastRun.FinishedAt.After(applied.Add(time.Minute))
	})
	if runs := s.Runs(t, applying); len(runs) != 1 || runs[0].Status.Class != string(job.Applied) {
		t.Errorf("the apply took %d Runs, the first ended as %s", len(runs), runs[0].Status.Class)
	}
	if n := s.Begun(t, cloud.Create); n != 3 {
		t.Errorf("%d things were created for 3 Workspaces", n)
	}
}

// TestAPIServerRestartsWhileManyAreDue: twenty Workspaces are due when the API server goes for some seconds. Each is
// applied, and nothing is made twice.
func TestAPIServerRestartsWhileManyAreDue(t *testing.T) {
	const workspaces = 20
	s := suite.NewSpace(t)
	s.Patience = 4 * time.Minute
	var all []*v1alpha1.Workspace
	for i := range workspaces {
		name := fmt.Sprintf("w%d", i)
		all = append(all, s.Workspace(name, map[string]string{"main.tf": s.Provider() + kit.Thing(name, "1")}))
		s.Create(t, all[i])
	}
	s.AwaitBegun(t, cloud.Create, 1)
	s.StopAPIServer(t, 5*time.Second)
	for _, w := range all {
		s.AwaitReady(t, w)
	}
	if n := s.Begun(t, cloud.Create); n != workspaces {
		t.Errorf("%d things were created for %d Workspaces", n, workspaces)
	}
	for _, w := range all {
		for _, r := range s.Runs(t, w) {
			if c := job.Class(r.Status.Class); !c.Succeeded() && c.Policy() != job.Persist {
				t.Errorf("Run %s ended as %s: %s", r.Name, c, r.Status.Message)
			}
		}
	}
}
