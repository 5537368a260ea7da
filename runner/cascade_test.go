package runner

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
)

// dependents are what the garbage collector knows to belong to an object.
func (w *world) dependents(of client.Object) []client.Object {
	w.t.Helper()
	var found []client.Object
	owned := func(o client.Object) {
		for _, ref := range o.GetOwnerReferences() {
			if ref.UID == of.GetUID() {
				found = append(found, o)
			}
		}
	}
	var runs v1alpha1.RunList
	var secrets corev1.SecretList
	var pods corev1.PodList
	w.must(w.base.List(w.t.Context(), &runs))
	w.must(w.base.List(w.t.Context(), &secrets))
	w.must(w.base.List(w.t.Context(), &pods))
	for i := range runs.Items {
		owned(&runs.Items[i])
	}
	for i := range secrets.Items {
		owned(&secrets.Items[i])
	}
	for i := range pods.Items {
		owned(&pods.Items[i])
	}
	return found
}

// collect plays the garbage collector for one round: it deletes what belongs to a Workspace that is deleted in the
// foreground, takes the owner off it if it is to be left, and then its own finalizer off the Workspace. What belongs to
// nobody any more goes too.
func (w *world) collect() {
	w.t.Helper()
	o := w.workspace()
	if o == nil || o.DeletionTimestamp == nil {
		return
	}
	all := w.dependents(o)
	foreground := controllerutil.ContainsFinalizer(o, metav1.FinalizerDeleteDependents)
	orphan := controllerutil.ContainsFinalizer(o, metav1.FinalizerOrphanDependents)
	for _, d := range all {
		switch {
		case foreground:
			for _, p := range w.dependents(d) {
				w.must(client.IgnoreNotFound(w.base.Delete(w.t.Context(), p)))
			}
			w.must(client.IgnoreNotFound(w.base.Delete(w.t.Context(), d)))
		case orphan:
			d.SetOwnerReferences(nil)
			w.must(w.base.Update(w.t.Context(), d))
		}
	}
	done := foreground && len(all) == 0 || orphan
	if done {
		controllerutil.RemoveFinalizer(o, metav1.FinalizerDeleteDependents)
		controllerutil.RemoveFinalizer(o, metav1.FinalizerOrphanDependents)
		w.must(w.base.Update(w.t.Context(), o))
	}
}

// untilGone lets controllers, collector and Pods go on until the Workspace is gone, and counts the Runs that destroyed.
func (w *world) untilGone() int {
	w.t.Helper()
	destroyed := map[types.UID]bool{}
	for i := 0; i < 40 && w.workspace() != nil; i++ {
		_ = w.pass() // an error is tried again
		for _, r := range w.runs() {
			if r.Spec.Trigger.Kind == v1alpha1.TriggerDeletion {
				destroyed[r.UID] = true
			}
		}
		w.collect()
		for _, p := range w.live() {
			if i%3 == 2 && w.get(p.OwnerReferences[0].Name, &v1alpha1.Run{}) {
				w.finish(p, job.Result{Class: job.Applied})
			}
		}
		w.clock.Step(5 * time.Second)
	}
	return len(destroyed)
}

// expectNoLeftovers: of what belongs to nobody only the outputs stay.
func (w *world) expectNoLeftovers() {
	w.t.Helper()
	var secrets corev1.SecretList
	w.must(w.base.List(w.t.Context(), &secrets))
	for _, s := range secrets.Items {
		if len(s.OwnerReferences) == 0 && s.Name != "vpn-outputs" {
			w.t.Errorf("Secret %s is left behind", s.Name)
		}
	}
}

// TestDeletionByEachCascade: everything is destroyed once, and the Workspace goes, with a history that is collected
// meanwhile, and while a Run goes on.
func TestDeletionByEachCascade(t *testing.T) {
	for _, cascade := range []string{"", metav1.FinalizerDeleteDependents, metav1.FinalizerOrphanDependents} {
		for name, arrange := range map[string]func(*world){
			"at rest": func(*world) {},
			"a Run goes on": func(w *world) {
				w.edit(func(o *v1alpha1.Workspace) { o.Annotations = map[string]string{v1alpha1.AnnotationRerun: "x"} })
				w.settle()
			},
		} {
			t.Run(cascade+" "+name, func(t *testing.T) {
				w := newWorld(t, vpn().Schedule("@every 1m").Obj())
				for range 3 {
					w.clock.Step(time.Minute)
					w.drive("Ready", func() bool { return w.ready() && len(w.live()) == 0 })
				}
				arrange(w)
				if cascade != "" {
					w.edit(func(o *v1alpha1.Workspace) { o.Finalizers = append(o.Finalizers, cascade) })
				}
				w.must(w.base.Delete(t.Context(), w.workspace()))
				runs := w.untilGone()
				if w.workspace() != nil || w.state.resources.Load() || runs != 1 {
					t.Errorf("gone: %v, destroyed: %v, by %d Runs; Runs are %v", w.workspace() == nil, !w.state.resources.Load(),
						runs, names(w.runs()))
				}
				w.expectNoLeftovers()
			})
		}
	}
}

// TestRunsThatADeletionLeftBehindAreNobodys: a Workspace made anew under the same name is not Ready by them.
func TestRunsThatADeletionLeftBehindAreNobodys(t *testing.T) {
	w := newWorld(t, vpn().Obj())
	w.drive("Ready", w.ready)
	left := w.runs()[0]
	left.OwnerReferences = nil
	w.must(w.base.Update(t.Context(), &left))
	again := vpn().With(func(o *v1alpha1.Workspace) {
		o.UID = "another"
		o.CreationTimestamp = metav1.NewTime(w.clock.Now().Add(time.Minute))
	}).Obj()
	next := newWorld(t, again, &left)
	next.clock.Step(time.Hour)
	next.settle()
	if live := next.live(); len(live) != 1 || next.ready() {
		t.Errorf("Ready: %v, with %d Pods at work", next.ready(), len(live))
	}
}
