//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/e2e/cloud"
	"github.com/plumbline-dev/plumbline/e2e/kit"
)

// TestPodIsAskedToGo in mid-apply: Terraform ends gracefully, so what was made is in the state, and the next Run makes
// only the rest.
func TestPodIsAskedToGo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ask   func(*testing.T, *kit.Space, string) error
		class job.Class
	}{
		"deleted": {func(t *testing.T, s *kit.Space, pod string) error {
			return s.Set.CoreV1().Pods(s.Name).Delete(t.Context(), pod, metav1.DeleteOptions{})
		}, job.PodLost},
		"evicted": {func(t *testing.T, s *kit.Space, pod string) error {
			return s.Set.CoreV1().Pods(s.Name).EvictV1(t.Context(), &policyv1.Eviction{
				ObjectMeta: metav1.ObjectMeta{Namespace: s.Name, Name: pod},
			})
		}, job.Evicted},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := suite.NewSpace(t)
			w, run := started(t, s)
			if err := c.ask(t, s, run.Status.PodName); err != nil {
				t.Fatal(err)
			}
			s.AwaitRun(t, w, string(c.class), ended(c.class))
			s.Faults(t)
			s.AwaitReady(t, w)
			// The first thing, the second that hung, and the second again, which may have hung once more.
			if s.Begun(t, cloud.Create) > 4 {
				t.Errorf("the provider was asked to create %d times", s.Begun(t, cloud.Create))
			}
			if runs := s.Runs(t, w); len(runs) > 3 {
				t.Errorf("it took %d Runs", len(runs))
			}
			remove(t, s, w)
		})
	}
}

// TestPodIsKilled: nobody could say goodbye, and the lock is free all the same: the controller has it released.
func TestPodIsKilled(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	w := s.Workspace("app", halfway(s))
	s.Create(t, w)
	s.AwaitReady(t, w)
	s.Faults(t, cloud.Fault{Op: cloud.Read, Kind: cloud.Hang})
	before := s.Begun(t, cloud.Read)
	// A change, for a check would hold no lock.
	s.Change(t, w, func() { w.Spec.Source.Inline.Files["outputs.tf"] = `output "more" { value = "more" }` })
	s.AwaitBegun(t, cloud.Read, before+1)
	run := s.AwaitPod(t, w)
	err := s.Set.CoreV1().Pods(s.Name).Delete(t.Context(), run.Status.PodName, *metav1.NewDeleteOptions(0))
	if err != nil {
		t.Fatal(err)
	}
	s.AwaitRun(t, w, "lost", ended(job.PodLost))
	s.AwaitAny(t, &eventsv1.EventList{}, "an event of the lock's release", func(o client.Object) bool {
		e, ok := o.(*eventsv1.Event)
		return ok && e.Reason == "LockReleased" && e.Regarding.Name == w.Name && e.Related != nil &&
			e.Related.Name == run.Name && strings.Contains(e.Note, "its Pod "+run.Status.PodName)
	})
	s.Faults(t)
	s.AwaitRun(t, w, "the retry", func(r *v1alpha1.Run) bool {
		return r.Spec.Trigger.Kind == v1alpha1.TriggerRetry && r.Status.Class == string(job.Applied)
	})
	s.AwaitReady(t, w)
	expectOnce(t, s, 2)
}

// TestOutOfMemory: the kernel kills the provider; the Run says so and the next one goes on from the state.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	w := s.Workspace("app", halfway(s), func(w *v1alpha1.Workspace) {
		w.Spec.PodTemplate = &v1alpha1.PodTemplate{Resources: &corev1.ResourceRequirements{
			Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("320Mi")},
		}}
	})
	s.Faults(t, cloud.Fault{Op: cloud.Create, Kind: cloud.Eat, MiB: 1000, After: 1, Times: 1})
	s.Create(t, w)
	s.AwaitRun(t, w, string(job.OOMKilled), ended(job.OOMKilled))
	s.AwaitReady(t, w)
	expectOnce(t, s, 3)
}

// TestNoImage: told within a minute, retried without haste, and nothing is left of it.
func TestNoImage(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	class := &v1alpha1.RunnerClass{
		ObjectMeta: metav1.ObjectMeta{Name: s.Name},
		Spec:       v1alpha1.RunnerClassSpec{Image: "localhost/plumbline/no-such-image:1"},
	}
	if err := s.WithWatch.Create(t.Context(), class); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Delete(kit.After(t), class); client.IgnoreNotFound(err) != nil {
			t.Error(err)
		}
	})
	w := s.Workspace("app", map[string]string{"main.tf": ""}, func(w *v1alpha1.Workspace) {
		w.Spec.RunnerClassName = s.Name
	})
	began := time.Now()
	s.Create(t, w)
	s.AwaitReason(t, w, job.ImageUnavailable)
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it took %s to tell", took.Round(time.Second))
	}
	// A second failure shows that it goes on by itself; each takes its patience, so there can't be many.
	second := s.AwaitRun(t, w, "the retry", func(r *v1alpha1.Run) bool { return r.Spec.Attempt == 2 })
	if second.Status.Class != string(job.ImageUnavailable) {
		t.Errorf("the retry ended as %s", second.Status.Class)
	}
	if pods := s.Pods(t); len(pods) > 1 {
		t.Errorf("%d Pods are there at once", len(pods))
	}
	if runs := s.Runs(t, w); len(runs) > 3 {
		t.Errorf("%d Runs within %s", len(runs), time.Since(began))
	}
	s.Change(t, w, func() { w.Spec.RunnerClassName = kit.ClassName })
	s.AwaitReady(t, w)
	remove(t, s, w)
	s.AwaitNoPods(t)
}

// TestFiveMinutesWithoutTheStateService in mid-apply: Terraform itself gives up, and its state is kept until it can be
// saved. The Run ends well.
func TestFiveMinutesWithoutTheStateService(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	s.Patience = 3 * time.Minute // the driver asks again with a backoff
	w, run := started(t, s)
	heal := s.CutOff(t, run)
	s.Faults(t)
	s.AwaitThings(t, 2) // nothing but the state is left to be done
	kit.Last(t, 5*time.Minute)
	kit.Await(t, s, run, func(r *v1alpha1.Run) bool { return r.Status.FinishedAt == nil })
	heal()
	s.AwaitReady(t, w)
	expectOnce(t, s, 2)
	if runs := s.Runs(t, w); len(runs) != 1 || runs[0].Status.Class != string(job.Applied) {
		t.Errorf("it took %d Runs, the first ended as %s", len(runs), runs[0].Status.Class)
	}
	remove(t, s, w)
}
