package pod

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/internal/testkit"
)

func a() *testkit.PodBuilder { return testkit.Pod(testkit.Run("vpn", "vpn-1").Obj()) }

// TestObserve_WaysToEnd names every way in which a Pod can end.
func TestObserve_WaysToEnd(t *testing.T) {
	result := func(c job.Class) job.Result { return job.Result{Class: c, Message: "said the driver"} }
	disrupted := func(b *testkit.PodBuilder, reason string) *testkit.PodBuilder {
		return b.Condition(corev1.DisruptionTarget, corev1.ConditionTrue, reason, "by the cluster")
	}
	for _, test := range []struct {
		name    string
		pod     *testkit.PodBuilder
		class   job.Class
		message string
	}{
		{"the driver said that it applied", a().Said(result(job.Applied)), job.Applied, "said the driver"},
		{"the driver said that it failed", a().Said(result(job.ApplyFailed)), job.ApplyFailed, "said the driver"},
		{"the container has ended and the Pod's phase lags behind",
			a().Terminated("Error", 1, `{"class":"PlanFailed","message":"x"}`), job.PlanFailed, "x"},
		{"a result beats the phase", a().Said(result(job.Applied)).Failed("DeadlineExceeded", ""), job.Applied,
			"said the driver"},
		{"a result beats an eviction that came too late", a().Said(result(job.Applied)).Failed("Evicted", "disk"),
			job.Applied, ""},
		{"a failure that the driver explained beats an eviction",
			disrupted(a().Said(result(job.ApplyFailed)), "EvictionByEvictionAPI"),
			job.ApplyFailed, "said the driver"},
		{"the driver was stopped by an eviction", a().Said(result(job.Canceled)).Failed("Evicted", "low on memory"),
			job.Evicted, "low on memory"},
		{"the driver was stopped by a drain", disrupted(a().Said(result(job.Canceled)), "EvictionByEvictionAPI"),
			job.Evicted, "EvictionByEvictionAPI"},
		{"the driver was stopped by the deadline", a().Said(result(job.Canceled)).Failed("DeadlineExceeded", ""),
			job.TimedOut, "deadline"},
		{"the driver was stopped, and nobody says by what", a().Said(result(job.Canceled)), job.Canceled, "said the driver"},
		{"evicted by the kubelet", a().Failed("Evicted", "The node was low on resource: memory."), job.Evicted,
			"low on resource"},
		{"preempted", a().Failed("Preempting", "Preempted in order to admit critical pod"), job.Evicted, "critical pod"},
		{"preempted by the scheduler",
			disrupted(a().Failed("", "").Terminated("Error", 143, ""), "PreemptionByScheduler"), job.Evicted,
			"PreemptionByScheduler"},
		{"its node drained", disrupted(a().Failed("", "").Terminated("Error", 137, ""), "EvictionByEvictionAPI"),
			job.Evicted, "by the cluster"},
		{"its node shut down", disrupted(a().Failed("Terminated", "imminent node shutdown"), "TerminationByKubelet"),
			job.Evicted, "TerminationByKubelet"},
		{"a disruption that was called off",
			a().Failed("", "").Terminated("Error", 2, "").Condition(corev1.DisruptionTarget, corev1.ConditionFalse, "x",
				""), job.NoResult, "exit code 2"},
		{"out of memory", a().Failed("", "").Terminated("OOMKilled", 137, ""), job.OOMKilled, "limits.memory"},
		{"the deadline passed", a().Failed("DeadlineExceeded", "").Terminated("Error", 137, ""), job.TimedOut, "deadline"},
		{"the deadline passed before the container ran", a().Failed("DeadlineExceeded", ""), job.TimedOut, "deadline"},
		{"its node was lost", a().Failed("NodeLost", ""), job.PodLost, "node was lost"},
		{"its node lost track of it", a().Failed("", "").Terminated("ContainerStatusUnknown", 137, "gone"), job.PodLost,
			"lost track"},
		{"deleted before the driver could report",
			a().Failed("", "").Terminated("Error", 137, "").Deleting(testkit.Epoch), job.PodLost, "was deleted"},
		{"its node had no room after all", a().Failed("OutOfcpu", "Node didn't have enough resource: cpu"), job.PodLost,
			"OutOfcpu"},
		{"its node did not admit it", a().Failed("NodeAffinity", ""), job.PodLost, "NodeAffinity"},
		{"the driver's binary is not there", a().Failed("", "").Terminated("StartError", 128, "exec: not found"),
			job.ImageUnavailable, "exec: not found"},
		{"the container can't run", a().Failed("", "").Terminated("ContainerCannotRun", 127, "no such file"),
			job.ImageUnavailable, "no such file"},
		{"the driver crashed", a().Failed("", "").Terminated("Error", 2, "panic: boom"), job.NoResult, "exit code 2"},
		{"the driver left half a result", a().Failed("", "").Terminated("Error", 1, `{"class":"App`), job.NoResult,
			"exit code 1"},
		{"something left what only looks like a result", a().Failed("", "").Terminated("Error", 1, `{"class":"a b"}`),
			job.NoResult, "exit code 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := Observe(test.pod.Obj(), testkit.At(time.Minute))
			if o.Phase != Ended || o.Class != test.class || !strings.Contains(o.Message, test.message) {
				t.Errorf("got %s %s %q, want %s %q", o.Phase, o.Class, o.Message, test.class, test.message)
			}
			if !Over(test.pod.Obj()) {
				t.Error("something of it may still run")
			}
		})
	}
}

func TestObserve_BeforeTheEnd(t *testing.T) {
	running := a().Running(testkit.At(3 * time.Second))
	unschedulable := func() *testkit.PodBuilder {
		return a().Condition(corev1.PodScheduled, corev1.ConditionFalse, "Unschedulable", "0/3 nodes are available")
	}
	taken := func(after time.Duration) *testkit.PodBuilder {
		return a().Condition(corev1.PodScheduled, corev1.ConditionTrue, "", "").With(func(p *corev1.Pod) {
			p.Status.Conditions[0].LastTransitionTime = metav1.NewTime(testkit.At(after))
		})
	}
	for _, test := range []struct {
		name    string
		pod     *testkit.PodBuilder
		age     time.Duration
		phase   Phase
		class   job.Class
		message string
		recheck time.Duration
	}{
		{"just created", a(), 0, Waiting, "", "no node has started it", startPatience},
		{"the image is being pulled", a().Waiting("ContainerCreating", ""), time.Minute, Waiting, "",
			"ContainerCreating", startPatience - time.Minute},
		{"running", running, time.Minute, Running, "", "", 0},
		{"running, and told to stop", a().Running(testkit.Epoch).Deleting(testkit.Epoch), time.Minute, Running, "", "", 0},
		{"running for longer than any start may take", running, time.Hour, Running, "", "", 0},
		{"no node takes it", unschedulable(), time.Minute, Unscheduled, "", "0/3 nodes are available", startPatience},
		{"no node takes it for days", unschedulable(), 100 * time.Hour, Unscheduled, "", "0/3 nodes are available",
			startPatience},
		{"a gate holds it", a().Condition(corev1.PodScheduled, corev1.ConditionFalse, "SchedulingGated", "kueue"),
			100 * time.Hour, Unscheduled, "", "kueue", startPatience},
		{"a node has taken it after days: its patience begins then", taken(100*time.Hour).Waiting("ErrImagePull", ""),
			100*time.Hour + time.Second, Waiting, "", "ErrImagePull", pullPatience - time.Second},
		{"a node has taken it after days, and doesn't start it", taken(100 * time.Hour), 100*time.Hour + startPatience,
			Failing, job.TimedOut, "no node has started it", 0},
		{"the image can't be pulled, for now", a().Waiting("ErrImagePull", "dial tcp"), 10 * time.Second, Waiting, "",
			"dial tcp", pullPatience - 10*time.Second},
		{"the image can't be pulled, for too long", a().Waiting("ImagePullBackOff", "Back-off"), pullPatience, Failing,
			job.ImageUnavailable, "registry.example/runner:1", 0},
		{"the image's name is none", a().Waiting("InvalidImageName", "couldn't parse"), time.Second, Failing,
			job.ImageUnavailable, "couldn't parse", 0},
		{"the image may not be pulled and isn't there", a().Waiting("ErrImageNeverPull", ""), time.Second, Failing,
			job.ImageUnavailable, "ErrImageNeverPull", 0},
		{"a volume can't be mounted, for too long", a().Waiting("ContainerCreating", ""), startPatience, Failing,
			job.TimedOut, "ContainerCreating", 0},
		{"the container can't be configured", a().Waiting("CreateContainerConfigError", "secret not found"),
			time.Minute, Waiting, "", "secret not found", startPatience - time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := Observe(test.pod.Obj(), testkit.At(test.age))
			if o.Phase != test.phase || o.Class != test.class || o.Recheck != test.recheck || !strings.Contains(o.Message,
				test.message) {
				t.Errorf("got %+v", o)
			}
			if Over(test.pod.Obj()) {
				t.Error("it counts as over")
			}
		})
	}
	if got := Observe(running.Obj(), testkit.Epoch).Since; !got.Equal(testkit.At(3 * time.Second)) {
		t.Errorf("it runs since %s", got)
	}
}

// TestLingers: what was injected beside the driver doesn't outlive it.
func TestLingers(t *testing.T) {
	beside := func(b *testkit.PodBuilder) *testkit.PodBuilder {
		return b.With(func(p *corev1.Pod) {
			p.Spec.Containers = append([]corev1.Container{{Name: "mesh"}}, p.Spec.Containers...)
		})
	}
	terminated := func() *testkit.PodBuilder { return a().Terminated("Completed", 0, "") }
	for _, test := range []struct {
		name string
		pod  *testkit.PodBuilder
		want bool
	}{
		{"the driver runs", beside(a().Running(testkit.Epoch)), false},
		{"the driver has ended", beside(terminated()), true},
		{"nothing is beside it: the node ends the Pod in a moment", terminated(), false},
		{"all have ended", beside(a().Said(job.Result{Class: job.Applied})), false},
		{"it is being deleted already", beside(terminated()).Deleting(testkit.Epoch), false},
	} {
		if got := Lingers(test.pod.Obj()); got != test.want {
			t.Errorf("%s: got %v", test.name, got)
		}
	}
}

// TestObserve_OutOfMemorySaysHowMuchThereWas: and which field to raise.
func TestObserve_OutOfMemorySaysHowMuchThereWas(t *testing.T) {
	p := Build(input())
	p.Status.Phase = corev1.PodFailed
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: container, State: corev1.ContainerState{
		Terminated: &corev1.ContainerStateTerminated{Reason: "OOMKilled", ExitCode: 137},
	}}}
	got := Observe(p, testkit.Epoch)
	const want = "its limit is 2Gi: raise spec.podTemplate.resources.limits.memory"
	if got.Class != job.OOMKilled || !strings.Contains(got.Message, want) {
		t.Errorf("%s: %s", got.Class, got.Message)
	}
}
