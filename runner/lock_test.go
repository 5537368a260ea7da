package runner

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/runner/run"
)

// told tells whether an event of a reason names this.
func (w *world) told(reason, text string) bool {
	return slices.ContainsFunc(w.events, func(e string) bool {
		return strings.Contains(e, " "+reason+" ") && strings.Contains(e, text)
	})
}

// TestTheLockOfALostPodIsReleased, whatever became of the Pod; one whose driver had the last word needs no help.
func TestTheLockOfALostPodIsReleased(t *testing.T) {
	terminated := func(reason string) func(*world, corev1.Pod) {
		return func(w *world, p corev1.Pod) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "runner", State: corev1.ContainerState{
				Terminated: &corev1.ContainerStateTerminated{Reason: reason, ExitCode: 137},
			}}}
			w.must(w.base.Status().Update(w.t.Context(), &p))
		}
	}
	for _, test := range []struct {
		name  string
		end   func(*world, corev1.Pod)
		class job.Class
		asked int
	}{
		{"gone", func(w *world, p corev1.Pod) { w.must(w.base.Delete(w.t.Context(), &p)) }, job.PodLost, 1},
		{"evicted", func(w *world, p corev1.Pod) {
			p.Status.Phase, p.Status.Reason = corev1.PodFailed, "Evicted"
			w.must(w.base.Status().Update(w.t.Context(), &p))
		}, job.Evicted, 1},
		{"out of memory", terminated("OOMKilled"), job.OOMKilled, 1},
		{"without a word", terminated("Error"), job.NoResult, 1},
		{"with a word", func(w *world, p corev1.Pod) { w.finish(p, job.Result{Class: job.Applied}) }, job.Applied, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, vpn().Obj())
			w.settle()
			first := w.live()[0]
			w.state.lock = run.Lock{Run: first.Name, Pod: first.Name}
			w.clock.Step(10 * time.Second)
			test.end(w, first)
			w.settle()
			w.clock.Step(10 * time.Second) // a Pod that is gone may still be ended by its node
			w.settle()
			if r := w.run(first.Name); r.Status.Class != string(test.class) || w.state.asked != test.asked {
				t.Errorf("the Run ended as %q; the lock was looked after %d times", r.Status.Class, w.state.asked)
			}
			told := w.told("LockReleased", "Run "+first.Name+" is released: its Pod "+first.Name)
			if told != (test.asked > 0) {
				t.Errorf("told: %v; events are %q", told, w.events)
			}
		})
	}
}

// TestALockThatStaysIsExplained: the node of an overdue Pod doesn't answer, and the next Run looks after the lock
// again.
func TestALockThatStaysIsExplained(t *testing.T) {
	w := newWorld(t, vpn().Obj())
	w.settle()
	first := w.live()[0]
	first.Finalizers = []string{"test/node-does-not-answer"}
	w.must(w.base.Update(t.Context(), &first))
	first.Status.Phase = corev1.PodRunning
	first.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "runner", State: corev1.ContainerState{
		Running: &corev1.ContainerStateRunning{},
	}}}
	w.must(w.base.Status().Update(t.Context(), &first))
	w.state.lock = run.Lock{Run: first.Name, Pod: first.Name, Kept: "locked by run x since then; released by its end"}
	w.clock.Step(time.Duration(*first.Spec.ActiveDeadlineSeconds)*time.Second + time.Hour)
	w.settle()
	message := w.workspace().Status.LastRun.Message
	if !strings.HasSuffix(message, "did not end it; the state stays locked by run x since then; released by its end") {
		t.Errorf("the Workspace says %q", message)
	}
	w.clock.Step(time.Minute)
	w.settle()
	if got := w.workspace().Status.WaitingFor; !strings.Contains(got, "it may hold the state's lock") {
		t.Errorf("the Workspace waits for %q", got)
	}
	w.state.lock = run.Lock{Run: first.Name, Pod: first.Name}
	w.get(first.Name, &first)
	first.Finalizers = nil
	w.must(w.base.Update(t.Context(), &first))
	w.drive("Ready", w.ready)
	if !w.told("LockReleased", first.Name) {
		t.Errorf("events are %q", w.events)
	}
}

// TestNobodyWaitsForALock: a state service that is away, or never answers, holds nothing up.
func TestNobodyWaitsForALock(t *testing.T) {
	w := newWorld(t, vpn().Obj())
	w.settle()
	first := w.live()[0]
	w.state.lockErr = errors.New("connection refused")
	w.clock.Step(10 * time.Second)
	w.must(w.base.Delete(t.Context(), &first))
	w.drive("Ready", w.ready)
	if w.state.asked != 2 || w.told("LockReleased", "") {
		t.Errorf("it was looked after %d times; events are %q", w.state.asked, w.events)
	}
	if w.state.unbounded {
		t.Error("a state service that never answers would hold the Workspace up")
	}
}
