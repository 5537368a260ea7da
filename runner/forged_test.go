package runner

import (
	"context"
	"strings"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/internal/testkit"
	"github.com/plumbline-dev/plumbline/runner/run"
)

// forge makes a Run as somebody would who may create Runs, and has read this code.
func (w *world) forge(operation v1alpha1.Operation, kind v1alpha1.TriggerKind, key string) *v1alpha1.Run {
	w.t.Helper()
	o := w.workspace()
	r := testkit.Run("vpn", "x").Trigger(kind, key).Operation(operation).Created(w.clock.Now()).Obj()
	r.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(o, v1alpha1.GroupVersion.WithKind("Workspace"))}
	r.Name = run.Name(o, r.Spec)
	r.UID = testkit.UID(r.Name)
	w.must(w.base.Create(w.t.Context(), r))
	return r
}

// TestAForgedRunChangesNothing: it gets no Pod, says why, and the Workspace goes its way as if it weren't there.
func TestAForgedRunChangesNothing(t *testing.T) {
	for _, test := range []struct {
		name      string
		operation v1alpha1.Operation
		kind      v1alpha1.TriggerKind
		key       string
		words     string
	}{
		{"a deletion that plans", v1alpha1.OperationPlan, v1alpha1.TriggerDeletion, "attempt 1",
			"Deletion is Plumbline's own"},
		{"a deletion of a live Workspace", v1alpha1.OperationDestroy, v1alpha1.TriggerDeletion, "attempt 1",
			"is not being deleted"},
		{"a tick of the year 2999", v1alpha1.OperationApply, v1alpha1.TriggerSchedule, "2999-01-01T00:00:00Z",
			"Schedule is Plumbline's own"},
		{"a tick that is none", v1alpha1.OperationApply, v1alpha1.TriggerSchedule, "soon", "Schedule is Plumbline's own"},
		{"a change that destroys", v1alpha1.OperationDestroy, v1alpha1.TriggerChange, "x", "Change is Plumbline's own"},
		{"a rerun that plans", v1alpha1.OperationPlan, v1alpha1.TriggerRerun, "1", "Rerun is Plumbline's own"},
		{"a retry that refreshes", v1alpha1.OperationRefresh, v1alpha1.TriggerRetry, "x", "Retry is Plumbline's own"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, vpn().Schedule("@every 1h").Obj())
			w.drive("Ready", w.ready)
			r := w.forge(test.operation, test.kind, test.key)
			w.settle()
			r = w.run(r.Name)
			if r.Status.Class != string(job.ConfigInvalid) || !strings.Contains(r.Status.Message, test.words) ||
				w.made["Pod "+r.Name] != 0 {
				t.Errorf("it ended as %q: %s", r.Status.Class, r.Status.Message)
			}
			if o := w.workspace(); !w.ready() || o.Status.LastRun.Name == r.Name || o.Status.LastScheduleTime != nil {
				t.Errorf("the Workspace says %+v", o.Status)
			}
			w.checksAndDestroys()
		})
	}
}

// checksAndDestroys: the schedule goes on, a rerun is answered, and a deletion destroys.
func (w *world) checksAndDestroys() {
	w.t.Helper()
	w.clock.Step(90 * time.Minute)
	w.drive("the next tick", func() bool { return w.workspace().Status.LastScheduleTime != nil })
	w.edit(func(o *v1alpha1.Workspace) { o.Annotations = map[string]string{v1alpha1.AnnotationRerun: "1"} })
	w.drive("the rerun's end", func() bool { return w.workspace().Status.LastRerun == "1" && w.ready() })
	w.must(w.base.Delete(w.t.Context(), w.workspace()))
	w.edit(func(o *v1alpha1.Workspace) { o.Generation++ }) // as an API server does
	w.drive("the Workspace's end", func() bool { return w.workspace() == nil })
	if w.state.resources.Load() {
		w.t.Error("the Workspace is gone and its infrastructure is not")
	}
}

// TestWhoseRunItIs: a Run that something else controls, or that an earlier Workspace of the name has left, ends at once
// and blocks nobody.
func TestWhoseRunItIs(t *testing.T) {
	owned := func(kind, uid string) *v1alpha1.Run {
		return testkit.Run("vpn", "x").With(func(r *v1alpha1.Run) {
			r.OwnerReferences[0].Kind, r.OwnerReferences[0].Name = kind, "other"
			r.OwnerReferences[0].UID = testkit.UID(uid)
			r.Spec.Trigger.Kind = v1alpha1.TriggerManual
		}).Obj()
	}
	for _, test := range []struct {
		name, words string
		run         *v1alpha1.Run
	}{
		{"of another controller", `controlled by PipelineRun "other"`, owned("PipelineRun", "pipeline")},
		{"of an earlier Workspace", `an earlier Workspace "vpn"`, owned("Workspace", "earlier")},
		{"a trigger that nobody owns", "leave spec.trigger out", testkit.Run("vpn", "x").With(func(r *v1alpha1.Run) {
			r.OwnerReferences = nil
		}).Obj()},
		{"attempts that nobody made", "leave it out", testkit.Run("vpn", "x").Manual().Attempt(1<<31 - 1).Obj()},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, vpn().Obj(), test.run)
			w.drive("Ready", w.ready)
			r := w.run("x")
			if r.Status.Class != string(job.ConfigInvalid) || !strings.Contains(r.Status.Message, test.words) {
				t.Errorf("it ended as %q: %s", r.Status.Class, r.Status.Message)
			}
			if apimeta.FindStatusCondition(w.workspace().Status.Conditions, v1alpha1.ConditionStalled) != nil ||
				w.made["Pod x"] != 0 {
				t.Errorf("the Workspace says %+v; made: %v", w.workspace().Status.Conditions, w.made)
			}
		})
	}
}

// TestADeletionThatACacheHasNotHeardOf: the Run is there, and the cache still has the Workspace as it was before.
func TestADeletionThatACacheHasNotHeardOf(t *testing.T) {
	w := newWorld(t, vpn().Deleting().Obj())
	r := w.forge(v1alpha1.OperationDestroy, v1alpha1.TriggerDeletion, "attempt 1")
	cache := interceptor.NewClient(w.client(), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object,
			opts ...client.GetOption) error {
			if old, ok := o.(*v1alpha1.Workspace); ok {
				vpn().Obj().DeepCopyInto(old)
				return nil
			}
			return c.Get(ctx, key, o, opts...)
		},
	})
	reconciler := &run.Reconciler{Client: cache, Live: w.base, Recorder: events.NewFakeRecorder(9), Clock: w.clock,
		State: location, Locks: w.state}
	if _, err := reconciler.Reconcile(t.Context(), ctrl.Request{NamespacedName: w.key}); err != nil {
		t.Fatal(err)
	}
	if w.run(r.Name).Status.StartedAt == nil {
		t.Errorf("%v", names(w.runs()))
	}
}
