// Package run brings one Run from created to finished: one Run is one Pod is one result.
//
//	Runs of a Workspace, Workspace, Pods --gather--> Input --Next--> Decision --act--> Secret, Pod, Run.status
//
// It works by Workspace, not by Run: the work queue never handles one key twice at a time, so the Runs of a Workspace
// come one after the other without a lock. No worker waits for a Pod; Pods are watched.
package run

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/runner/limits"
)

// Reconciler advances the Run of a Workspace whose turn it is. It holds collaborators only.
type Reconciler struct {
	Client client.Client
	// Live reads from the API server itself, past every cache.
	Live     client.Reader
	Recorder events.EventRecorder
	Clock    clock.PassiveClock
	// State is how runner Pods reach the state service.
	State func() (job.State, error)
	Locks Locks
}

// Reconcile handles one Workspace's Runs.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	in, err := r.gather(ctx, req.NamespacedName)
	if err != nil {
		return ctrl.Result{}, err
	}
	if err := r.sweep(ctx, in); err != nil || in.Run == nil {
		return ctrl.Result{}, err
	}
	d, err := r.decide(ctx, &in)
	if err != nil {
		return ctrl.Result{}, err
	}
	before := in.Run.DeepCopy()
	if err := r.act(ctx, in, d); err != nil {
		return ctrl.Result{}, err
	}
	if err := r.patch(ctx, before, in.Run); err != nil {
		return ctrl.Result{}, err
	}
	if d.Do == Finish || d.Do == Abandon {
		r.announce(in)
		observe(in.Run)
	}
	return ctrl.Result{RequeueAfter: d.Recheck}, nil
}

// decide looks and launches where that is what is next, and returns what is left to do then.
func (r *Reconciler) decide(ctx context.Context, in *Input) (Decision, error) {
	d := Next(*in)
	if d.Do == Look {
		if err := r.look(ctx, in); err != nil {
			return Decision{}, err
		}
		d = Next(*in)
	}
	if d.Do == Launch {
		return r.launch(ctx, in)
	}
	return d, nil
}

// patch writes the status once, and only over what was read: of two controllers one gets a conflict and looks again.
func (r *Reconciler) patch(ctx context.Context, before, after *v1alpha1.Run) error {
	if apiequality.Semantic.DeepEqual(before.Status, after.Status) {
		return nil
	}
	from := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Status().Patch(ctx, after, from); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("writing Run status: %w", err)
	}
	return nil
}

// announce tells people how the Run ended. A drift check that found nothing says nothing.
func (r *Reconciler) announce(in Input) {
	class := job.Class(in.Run.Status.Class)
	if class == job.NoChanges || in.Workspace == nil {
		return
	}
	kind := corev1.EventTypeNormal
	if !class.Succeeded() {
		kind = corev1.EventTypeWarning
	}
	r.Recorder.Eventf(in.Workspace, in.Run, kind, string(class), string(in.Run.Spec.Operation), "%s",
		limits.Note("Run %s: %s", in.Run.Name, describe(in.Run)))
}

var errNotOurs = errors.New("an object of the wanted name exists and belongs to something else")
