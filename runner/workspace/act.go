package workspace

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/runner/limits"
	"github.com/plumbline-dev/plumbline/runner/names"
	"github.com/plumbline-dev/plumbline/runner/pod"
	"github.com/plumbline-dev/plumbline/runner/run"
)

var (
	// errNotOurs: an object of the wanted name exists and belongs to something else.
	errNotOurs = errors.New("it exists and is not this Workspace's: remove or rename it")
	// errDecided: a list that lags behind led to a decision that was taken, and carried out, before.
	errDecided = errors.New("it has ended already: looking again")
	// errState: the state service could not be asked.
	errState = errors.New("asking the state service")
)

// act does the one thing that was decided. released tells that the Workspace is let go and has no status to write.
func (r *Reconciler) act(ctx context.Context, in Input, d Decision) (released bool, err error) {
	switch d.Do {
	case Create:
		return false, r.create(ctx, in, d)
	case Cancel:
		return false, r.cancel(ctx, in.Active)
	case Dismantle:
		return r.dismantle(ctx, in, d)
	case Adopt:
		return false, r.adoptState(ctx, in)
	case Dismiss:
		return r.dismiss(ctx, in.Workspace)
	case Release:
		r.Recorder.Eventf(in.Workspace, nil, corev1.EventTypeNormal, "Orphaned", "Delete",
			"the infrastructure is left as it is, and the state is kept")
		return true, r.release(ctx, in.Workspace)
	}
	return false, nil
}

// visible turns an error that users can do something about into what the Workspace says.
func visible(d Decision, err error) (Decision, error) {
	if held, ok := withoutState(err); ok {
		return held, nil
	}
	blocked := Decision{Do: Wait, Blocked: true}
	refusal, is := errors.AsType[*refusedError](err)
	switch {
	case is:
		blocked.Reason = refusal.reason
	case errors.Is(err, errState):
		blocked.Reason = string(job.StateUnavailable)
	case errors.Is(err, errNotOurs):
		blocked.Reason = v1alpha1.ReasonNameConflict
	default:
		return d, err
	}
	blocked.Message = err.Error()
	return blocked, err
}

// create makes the Run. Its name follows from its cause, so that the same decision taken twice makes one Run.
func (r *Reconciler) create(ctx context.Context, in Input, d Decision) error {
	run := newRun(in, d)
	if err := controllerutil.SetControllerReference(in.Workspace, run, r.Client.Scheme()); err != nil {
		return fmt.Errorf("owning Run: %w", err)
	}
	err := r.Client.Create(ctx, run)
	if apierrors.IsAlreadyExists(err) {
		return r.recognize(ctx, in.Workspace, run)
	}
	if err != nil {
		return refused("creating Run", err)
	}
	if d.Unlock != "" {
		r.Recorder.Eventf(in.Workspace, run, corev1.EventTypeNormal, "Unlocking", "Unlock", "%s",
			limits.Note("Run %s releases lock %s of the state, as %s asks", run.Name, d.Unlock, v1alpha1.AnnotationUnlock))
	}
	return nil
}

func newRun(in Input, d Decision) *v1alpha1.Run {
	w := in.Workspace
	made := &v1alpha1.Run{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.Namespace,
			Labels: map[string]string{
				pod.LabelName:           pod.Name,
				v1alpha1.LabelWorkspace: names.Label(w.Name),
			},
		},
		Spec: v1alpha1.RunSpec{
			WorkspaceName: w.Name,
			Operation:     d.Operation,
			Trigger:       d.Trigger,
			InputsDigest:  in.Digest,
			Attempt:       d.Attempt,
			ForceUnlock:   d.Unlock,
		},
	}
	made.Name = run.Name(w, made.Spec)
	return made
}

// recognize accepts a Run that an earlier pass made, and nothing else.
func (r *Reconciler) recognize(ctx context.Context, w *v1alpha1.Workspace, wanted *v1alpha1.Run) error {
	var found v1alpha1.Run
	err := r.Live.Get(ctx, client.ObjectKeyFromObject(wanted), &found)
	if apierrors.IsNotFound(err) {
		return nil // deleted in between: its end is an event that asks again
	}
	if err != nil {
		return fmt.Errorf("reading Run %q: %w", wanted.Name, err)
	}
	if !metav1.IsControlledBy(&found, w) {
		return fmt.Errorf("creating Run %q: %w", wanted.Name, errNotOurs)
	}
	if !run.Believed(w, &found) {
		return r.displace(ctx, w, &found)
	}
	if run.Finished(&found) {
		return fmt.Errorf("creating Run %q: %w", wanted.Name, errDecided)
	}
	return nil
}

// displace removes a Run that only claims to be the controller's, and has the name of one that is to be made.
func (r *Reconciler) displace(ctx context.Context, w *v1alpha1.Workspace, found *v1alpha1.Run) error {
	if err := r.Client.Delete(ctx, found, client.Preconditions{UID: &found.UID}); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("removing Run %q, which is not Plumbline's: %w", found.Name, err)
	}
	log.FromContext(ctx).Info("a Run that is not Plumbline's had the name of one that is to be made, and is removed",
		"run", found.Name, "why", run.Doubt(w, found))
	return nil // its end is an event that asks again
}

func (r *Reconciler) cancel(ctx context.Context, run *v1alpha1.Run) error {
	before := run.DeepCopy()
	run = run.DeepCopy()
	run.Spec.Cancel = true
	if err := r.Client.Patch(ctx, run, client.MergeFrom(before)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("canceling Run %q: %w", run.Name, err)
	}
	return nil
}

// dismantle lets a Workspace go whose state holds nothing (any more), and otherwise makes the Run that empties it.
// Asking the state first means that a Workspace whose configuration never worked needs no Run to be deleted.
func (r *Reconciler) dismantle(ctx context.Context, in Input, d Decision) (released bool, err error) {
	if !abroad(in) {
		gone, err := r.State.Forget(ctx, Forgotten{in.Workspace, run.Expected(in.Lies), leftSerial(in)})
		if err != nil {
			return false, fmt.Errorf("%w: %w", errState, err)
		}
		if gone {
			return true, r.release(ctx, in.Workspace)
		}
	}
	err = r.create(ctx, in, d)
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		// No Pod can be made here any more. The state is kept, so that what is left can still be found and removed.
		log.FromContext(ctx).Info("namespace is being deleted: infrastructure is left as it is and the state is kept",
			"uid", in.Workspace.UID)
		orphaned.Inc()
		return true, r.release(ctx, in.Workspace)
	}
	return false, err
}

func (r *Reconciler) release(ctx context.Context, w *v1alpha1.Workspace) error {
	if err := r.leftovers(ctx, w); err != nil {
		return err
	}
	before := w.DeepCopy()
	controllerutil.RemoveFinalizer(w, v1alpha1.Finalizer)
	from := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, w, from); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("removing finalizer: %w", err)
	}
	return nil
}
