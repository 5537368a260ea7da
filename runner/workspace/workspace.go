// Package workspace decides which Run a Workspace needs now, makes it, and tells users how the Workspace stands.
//
//	Workspace, Runs, RunnerClass, inputs, clock --gather--> Input --Next--> Decision --act--> Run
//	                                                                   \--summarize--> Workspace.status
//
// Only this package creates Runs of its own accord. It never waits for one: finished Runs come back by a watch.
package workspace

import (
	"context"
	"errors"
	"fmt"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
)

// State is what the controller asks of the state service.
type State interface {
	// Outputs are the newest outputs of a Workspace; empty when there are none yet.
	Outputs(ctx context.Context, namespace, workspace string) (map[string]job.Output, error)
	// Forget removes a Workspace's state when nothing is left in it, and tells whether it is gone. A *MissingError says
	// that there should be one.
	Forget(ctx context.Context, f Forgotten) (gone bool, err error)
	// Adopt takes over the state that was kept for another UID; a *RefusedError says why not.
	Adopt(ctx context.Context, w *v1alpha1.Workspace, from string) error
}

// Reconciler handles Workspaces. It holds collaborators only.
type Reconciler struct {
	Client client.Client
	// Live reads from the API server itself, past every cache: Secrets are never cached.
	Live     client.Reader
	Recorder events.EventRecorder
	Clock    clock.PassiveClock
	State    State
	// Installation is the one that the Workspaces are claimed for; empty for none.
	Installation string
}

// Reconcile handles one Workspace.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var w v1alpha1.Workspace
	if err := r.Client.Get(ctx, req.NamespacedName, &w); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if w.DeletionTimestamp != nil && !controllerutil.ContainsFinalizer(&w, v1alpha1.Finalizer) {
		return ctrl.Result{}, nil
	}
	if err := r.hold(ctx, &w); err != nil {
		return ctrl.Result{}, err
	}
	in, err := r.gather(ctx, &w)
	if err != nil {
		return ctrl.Result{}, err
	}
	d := Next(in)
	var late error
	if d.Do == Wait || d.Do == Create {
		in.Delivery, late = r.deliver(ctx, in)
	}
	released, err := r.act(ctx, in, d)
	if released {
		return ctrl.Result{}, err
	}
	d, err = visible(d, err)
	again, err := r.conclude(ctx, in, d, err)
	return ctrl.Result{RequeueAfter: again}, errors.Join(err, late)
}

// conclude writes the status once, tells about it, and tidies up when nothing else is to be done. It returns when to
// look again.
func (r *Reconciler) conclude(ctx context.Context, in Input, d Decision, acted error) (time.Duration, error) {
	before := in.Workspace.DeepCopy()
	summarize(in, d)
	if err := r.patch(ctx, before, in.Workspace); err != nil {
		return 0, errors.Join(acted, err)
	}
	r.announce(before, in.Workspace)
	if acted != nil {
		return 0, acted
	}
	again := soonest(soonest(until(in, d), d.Again), in.Delivery.Again)
	if in.Active == nil && (d.Do == Wait || d.Do == Create) {
		prunable, err := r.prune(ctx, in)
		return soonest(again, prunable), err
	}
	return again, nil
}

// soonest is the shorter of two waits, of which zero is for ever.
func soonest(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

func (r *Reconciler) patch(ctx context.Context, before, after *v1alpha1.Workspace) error {
	if apiequality.Semantic.DeepEqual(before.Status, after.Status) {
		return nil
	}
	from := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Status().Patch(ctx, after, from); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("writing Workspace status: %w", err)
	}
	return nil
}

// hold adds the finalizer before the first Run, so that nothing is made that nobody would take apart, and claims the
// Workspace for its installation: of two that do so at once one gets a conflict.
func (r *Reconciler) hold(ctx context.Context, w *v1alpha1.Workspace) error {
	before := w.DeepCopy()
	held := w.DeletionTimestamp != nil || !controllerutil.AddFinalizer(w, v1alpha1.Finalizer)
	if r.Installation != "" && w.Annotations[v1alpha1.AnnotationInstallation] != r.Installation {
		metav1.SetMetaDataAnnotation(&w.ObjectMeta, v1alpha1.AnnotationInstallation, r.Installation)
		held = false
	}
	if held {
		return nil
	}
	if err := r.Client.Patch(ctx, w,
		client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("adding finalizer: %w", err)
	}
	return nil
}
