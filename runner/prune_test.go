package runner

import (
	"reflect"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/internal/testkit"
	"github.com/plumbline-dev/plumbline/runner/run"
	"github.com/plumbline-dev/plumbline/runner/workspace"
)

// value sets the input that the Workspace reads from a Secret.
func (w *world) value(v string) {
	w.t.Helper()
	var s corev1.Secret
	w.get("s", &s)
	s.Data = map[string][]byte{"k": []byte(v)}
	w.must(w.base.Update(w.t.Context(), &s))
}

// mounted tells whether the Secret with the files of a Pod exists.
func (w *world) mounted(p corev1.Pod) bool {
	w.t.Helper()
	for _, v := range p.Spec.Volumes {
		if v.Name == "job" {
			return w.get(v.Secret.SecretName, &corev1.Secret{})
		}
	}
	w.t.Fatalf("Pod %s mounts no files", p.Name)
	return false
}

// inputSecrets counts the Secrets with files.
func (w *world) inputSecrets() int {
	w.t.Helper()
	var list corev1.SecretList
	w.must(w.base.List(w.t.Context(), &list, client.MatchingLabels{run.LabelInputs: "true"}))
	return len(list.Items)
}

// launchMeanwhile changes the inputs, and lets a person's Run be launched with them, right before the Workspace's
// status is written the next time that no Pod is at work.
func (w *world) launchMeanwhile() *bool {
	launched := false
	w.fault = func(w *world, when, what string) error {
		if when != "before" || what != "patch Workspace status" || len(w.live()) > 0 || launched {
			return nil
		}
		launched = true
		w.value("2")
		w.must(w.base.Create(w.t.Context(), testkit.Run("vpn", "by-hand").Manual().Obj()))
		other := &run.Reconciler{Client: w.base, Live: w.base, Recorder: events.NewFakeRecorder(9), Clock: w.clock,
			State: location, Locks: w.state}
		for range 2 {
			_, err := other.Reconcile(w.t.Context(), ctrl.Request{NamespacedName: w.key})
			w.must(err)
		}
		return nil
	}
	return &launched
}

// TestPruningSparesARunThatIsLaunchedMeanwhile: while a Workspace is looked at its inputs change, and a person's Run
// with the new ones is launched.
func TestPruningSparesARunThatIsLaunchedMeanwhile(t *testing.T) {
	for _, test := range []struct {
		name string
		// before makes the Secret that the Run will mount, or not.
		before func(*world)
	}{
		{"with a Secret that is made for it", func(*world) {}},
		{"with one that nobody needed any more", func(w *world) {
			w.drive("Ready", w.ready)
			w.value("2")
			w.drive("Ready with the other", func() bool { return w.ready() && w.inputSecrets() == 2 })
			w.value("1")
			w.settle()
			w.clock.Step(2 * time.Minute)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, vpn().FromSecret("v", "s", "k").Obj(), testkit.Secret("s", map[string]string{"k": "1"}))
			w.settle()
			test.before(w)
			launched := w.launchMeanwhile()
			w.finish(w.live()[0], job.Result{Class: job.Applied})
			_ = w.passes(2)
			if live := w.live(); !*launched || len(live) != 1 || live[0].Name != "by-hand" || !w.mounted(live[0]) {
				t.Fatalf("launched: %v; its files are gone, or %d Pods are at work", *launched, len(live))
			}
			w.fault = nil
			w.drive("its end", func() bool { return len(w.live()) == 0 && w.ready() })
			w.clock.Step(2 * time.Minute)
			w.settle()
			if n := w.inputSecrets(); n > 2 {
				t.Errorf("%d Secrets are left, and what is asked for and what was applied need two at most", n)
			}
		})
	}
}

// TestSecretsThatNobodyNeedsGo, though not at once, and while Runs are always due too.
func TestSecretsThatNobodyNeedsGo(t *testing.T) {
	for name, w := range map[string]*testkit.WorkspaceBuilder{
		"at rest": vpn(), "always due": vpn().Schedule("@every 1m"),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, w.FromSecret("v", "s", "k").Obj(), testkit.Secret("s", map[string]string{"k": "1"}))
			w.drive("Ready", w.ready)
			w.value("2")
			for range 5 {
				w.settle()
				w.clock.Step(2 * time.Minute)
				for _, p := range w.live() {
					w.finish(p, job.Result{Class: job.Applied})
				}
			}
			w.settle()
			if n := w.inputSecrets(); n != 1 {
				t.Errorf("%d Secrets are left, want one", n)
			}
		})
	}
}

// TestTheArchiveOutlivesItsRun: when a Run goes with the history nobody has its archive removed. The controller has not
// even the words for that.
func TestTheArchiveOutlivesItsRun(t *testing.T) {
	w := newWorld(t, vpn().History(1, 1).Obj())
	w.drive("Ready", w.ready)
	first := w.runs()[0].Name
	w.clock.Step(time.Minute)
	w.edit(func(o *v1alpha1.Workspace) { o.Annotations = map[string]string{v1alpha1.AnnotationRerun: "1"} })
	w.drive("the first Run's end", func() bool { return !w.get(first, &v1alpha1.Run{}) })
	for m := range reflect.TypeFor[workspace.State]().Methods() {
		if m.Name != "Outputs" && m.Name != "Forget" && m.Name != "Adopt" {
			t.Errorf("the controller may ask for %s", m.Name)
		}
	}
}
