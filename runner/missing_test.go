package runner

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/runner/workspace"
)

// place is what a Pod's driver is told of the state.
func place(t *testing.T, p corev1.Pod) job.Place {
	t.Helper()
	params, err := job.ParseParams(strings.ReplaceAll(p.Spec.Containers[0].Args[1], "$$", "$"))
	if err != nil {
		t.Fatal(err)
	}
	return params.Place
}

// next is the Pod that is at work.
func (w *world) next() corev1.Pod {
	w.t.Helper()
	w.settle()
	live := w.live()
	if len(live) != 1 {
		w.t.Fatalf("%d Pods are at work; Runs are %v", len(live), names(w.runs()))
	}
	return live[0]
}

func (w *world) annotate(key, value string) {
	w.t.Helper()
	w.clock.Step(time.Minute)
	w.edit(func(o *v1alpha1.Workspace) {
		metav1.SetMetaDataAnnotation(&o.ObjectMeta, key, value)
	})
}

func (w *world) tells(kind string) metav1.Condition {
	w.t.Helper()
	if c := apimeta.FindStatusCondition(w.workspace().Status.Conditions, kind); c != nil {
		return *c
	}
	return metav1.Condition{}
}

func (w *world) held(says string) {
	w.t.Helper()
	ready, stalled := w.tells(v1alpha1.ConditionReady), w.tells(v1alpha1.ConditionStalled)
	if ready.Status != metav1.ConditionFalse || ready.Reason != string(job.StateMissing) ||
		!strings.Contains(ready.Message, says) || stalled.Status != metav1.ConditionTrue {
		w.t.Errorf("Ready %s %s: %s; Stalled %q; want it held with %q", ready.Status, ready.Reason, ready.Message,
			stalled.Status, says)
	}
}

const goesOn = "set plumbline.dev/adopt-state"

var found = job.Result{Class: job.NoChanges, Changes: &job.Changes{}, StateSerial: 7, StateLineage: "L", StoreID: "S"}

// A Workspace is restored from a backup: it has another UID, no status, and its state is kept for the former one.
func TestARestoredWorkspaceTakesItsStateOver(t *testing.T) {
	w := newWorld(t, vpn().Obj())
	w.finish(w.next(), job.Result{Class: job.StateMissing, Message: goesOn})
	w.settle()
	w.held(goesOn)
	w.clock.Step(24 * time.Hour)
	w.settle()
	if n := len(w.runs()); n != 1 {
		t.Fatalf("%d Runs, though nobody has said anything: %v", n, names(w.runs()))
	}
	w.annotate(v1alpha1.AnnotationAdoptState, "former")
	w.finish(w.next(), found)
	w.drive("Ready", w.ready)
	w.annotate(v1alpha1.AnnotationRerun, "1")
	if diff := cmp.Diff(job.Place{Lineage: "L", Serial: 7, Store: "S"}, place(t, w.next())); diff != "" {
		t.Errorf("the next Run expects (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"former"}, w.state.adopted); diff != "" {
		t.Errorf("taken over (-want +got):\n%s", diff)
	}
	s := w.workspace().Status
	if s.LastAdoptState != "former" || s.Applied.Lineage != "L" || s.Applied.StateSerial != 7 || s.Applied.StoreID != "S" {
		t.Errorf("%q was acted on; applied %+v", s.LastAdoptState, s.Applied)
	}
}

func TestAStateThatIsNotHandedOver(t *testing.T) {
	w := newWorld(t, vpn().Obj())
	w.finish(w.next(), job.Result{Class: job.StateMissing, Message: goesOn})
	w.settle()
	w.state.adoptErr = &workspace.RefusedError{Text: "nothing is kept for UID x"}
	w.annotate(v1alpha1.AnnotationAdoptState, "x")
	w.settle()
	w.held("plumbline.dev/adopt-state asks for what can't be: nothing is kept for UID x")
	if n := len(w.runs()); n != 1 || w.workspace().Status.LastAdoptState != "" {
		t.Errorf("%d Runs, and %q counts as acted on", n, w.workspace().Status.LastAdoptState)
	}
	w.state.adoptErr = nil
	w.annotate(v1alpha1.AnnotationAdoptState, "former")
	w.finish(w.next(), found)
	w.drive("Ready", w.ready)
}

// What a person says about a state that was lost is the end of what was expected.
func TestNothingIsExpectedAnyMore(t *testing.T) {
	for _, said := range []string{v1alpha1.AdoptNone, "uid-of-vpn"} {
		w := newWorld(t, vpn().Obj())
		w.finish(w.next(), found)
		w.drive("Ready", w.ready)
		w.annotate(v1alpha1.AnnotationRerun, "1")
		w.finish(w.next(), job.Result{Class: job.StateMissing, Message: goesOn})
		w.settle()
		w.held(goesOn)
		w.annotate(v1alpha1.AnnotationAdoptState, said)
		pod := w.next()
		if got := place(t, pod); got != (job.Place{}) {
			t.Errorf("%s: the next Run expects %+v", said, got)
		}
		other := found
		other.StateSerial, other.StateLineage = 1, "M"
		w.finish(pod, other)
		w.drive("Ready", w.ready)
		w.annotate(v1alpha1.AnnotationRerun, "2")
		if got := place(t, w.next()); got != (job.Place{Lineage: "M", Serial: 1, Store: "S"}) {
			t.Errorf("%s: the one after it expects %+v", said, got)
		}
	}
}

func TestADeletionIsHeldWhereTheStateIsMissing(t *testing.T) {
	w := newWorld(t, vpn().Obj())
	w.finish(w.next(), found)
	w.drive("Ready", w.ready)
	w.state.missing = &workspace.MissingError{Text: goesOn}
	w.must(w.base.Delete(t.Context(), w.workspace()))
	w.settle()
	w.held(goesOn)
	if n := len(w.runs()); n != 1 {
		t.Errorf("%d Runs: %v", n, names(w.runs()))
	}
	want := job.Expected{Lineage: "L", Serial: 7, Store: "S"}
	if ask := w.state.asks[len(w.state.asks)-1]; ask.Want != want || ask.Destroyed != 0 {
		t.Errorf("the state service was told to expect %+v, destroyed %d", ask.Want, ask.Destroyed)
	}
	w.annotate(v1alpha1.AnnotationAdoptState, "former")
	w.settle()
	w.state.missing = nil
	w.state.resources.Store(true)
	w.drive("the Workspace's end", func() bool { return w.workspace() == nil })
	if len(w.state.adopted) == 0 || w.state.adopted[0] != "former" {
		t.Errorf("taken over: %q", w.state.adopted)
	}
	if last := w.state.asks[len(w.state.asks)-1]; last.Want != (job.Expected{}) {
		t.Errorf("in the end it expects %+v", last.Want)
	}
}

func TestAHeldDeletionLetsGoByPolicy(t *testing.T) {
	w := newWorld(t, vpn().Obj())
	w.finish(w.next(), found)
	w.drive("Ready", w.ready)
	w.state.missing = &workspace.MissingError{Text: goesOn}
	w.must(w.base.Delete(t.Context(), w.workspace()))
	w.settle()
	w.edit(func(o *v1alpha1.Workspace) { o.Spec.DeletionPolicy = v1alpha1.DeletionOrphan })
	w.settle()
	if w.workspace() != nil {
		t.Error("it stays")
	}
}

// A destruction that finds another state than expected is held, and goes on when somebody has said what to do.
func TestADestructionThatFindsNoState(t *testing.T) {
	w := newWorld(t, vpn().Obj())
	w.finish(w.next(), found)
	w.state.resources.Store(true)
	w.drive("Ready", w.ready)
	w.must(w.base.Delete(t.Context(), w.workspace()))
	w.finish(w.next(), job.Result{Class: job.StateMissing, Message: goesOn})
	w.settle()
	w.held(goesOn)
	w.annotate(v1alpha1.AnnotationAdoptState, "uid-of-vpn")
	destroyed := job.Result{Class: job.Applied, Changes: &job.Changes{Destroy: 1}, StateSerial: 9, StateLineage: "L"}
	w.finish(w.next(), destroyed)
	w.settle()
	if w.workspace() != nil {
		t.Fatalf("it stays: %+v", w.tells(v1alpha1.ConditionReady))
	}
	if last := w.state.asks[len(w.state.asks)-1]; last.Destroyed != 9 {
		t.Errorf("the state service is told that serial %d was left, want 9", last.Destroyed)
	}
}

// A status that comes from a backup says nothing about this object: a Run finds out whether the state is there too.
func TestARestoredStatusIsNotBelieved(t *testing.T) {
	w := newWorld(t, vpn().Obj())
	w.finish(w.next(), found)
	w.drive("Ready", w.ready)
	backup := w.workspace()
	restored := newWorld(t, vpn().With(func(o *v1alpha1.Workspace) {
		o.UID, o.Status, o.Finalizers = "another", backup.Status, backup.Finalizers
	}).Obj())
	pod := restored.next()
	if got := place(t, pod); got != (job.Place{Lineage: "L", Serial: 7, Store: "S"}) {
		t.Errorf("the Run expects %+v", got)
	}
	restored.finish(pod, job.Result{Class: job.StateMissing, Message: goesOn})
	restored.settle()
	restored.held(goesOn)
}

// TestNothingIsExpectedOfAFormerRelease: a Run that a release ended which numbered none is not believed anew after
// somebody has said what to go on with.
func TestNothingIsExpectedOfAFormerRelease(t *testing.T) {
	w := newWorld(t, vpn().Obj())
	w.finish(w.next(), found)
	w.drive("Ready", w.ready)
	r := w.runs()[0]
	r.Status.Sequence, r.Status.Backend = 0, nil
	w.must(w.base.Status().Update(t.Context(), &r))
	o := w.workspace()
	o.Status.Sequence, o.Status.Backend, o.Status.UID = 0, nil, ""
	o.Status.Applied.Lineage, o.Status.Applied.StoreID = "", ""
	w.must(w.base.Status().Update(t.Context(), o))
	w.annotate(v1alpha1.AnnotationRerun, "1")
	w.finish(w.next(), job.Result{Class: job.StateMissing, Message: goesOn})
	w.settle()
	w.held(goesOn)
	w.annotate(v1alpha1.AnnotationAdoptState, v1alpha1.AdoptNone)
	if got := place(t, w.next()); got != (job.Place{}) {
		t.Errorf("the next Run expects %+v", got)
	}
}
