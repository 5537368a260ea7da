package run

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/runner/inputs"
)

// launch renders the Secret, creates the Pod and records its UID, in this order. A Pod that no Run has recorded is no
// Run's: the state service doesn't serve it. So a controller that dies between the last two leaves a Pod that can do
// nothing, which the next pass removes before it launches anew; two Pods never apply at once. The decision that launch
// returns is what is left to do: a launch may turn out to be a wait, or an end.
func (r *Reconciler) launch(ctx context.Context, in *Input) (Decision, error) {
	// Should it have been impossible at that Run's end, such as while its Pod was leaving.
	r.releaseLock(ctx, *in, in.Before)
	made, err := r.prepare(ctx, *in)
	if err != nil {
		return unprepared(*in, err)
	}
	err = r.Client.Create(ctx, made.Pod)
	switch {
	case apierrors.IsAlreadyExists(err):
		return r.taken(ctx, in, made.Pod)
	case err != nil:
		return unprepared(*in, refused(fmt.Sprintf("creating Pod %q", made.Name), err))
	}
	if err := r.record(ctx, *in, made); err != nil {
		return Decision{}, err
	}
	return Decision{Do: Note, Reason: v1alpha1.ReasonLaunching, Message: launching(in.Run), Recheck: settle}, nil
}

// unprepared tells what a person or time will heal, and what can't be, from a failed call.
func unprepared(in Input, err error) (Decision, error) {
	var missing *inputs.MissingError
	var invalid *inputs.InvalidError
	var no *refusedError
	switch {
	case errors.As(err, &no):
		return onRefusal(in, no), nil
	case errors.As(err, &invalid), errors.Is(err, errMoved):
		return Decision{Do: Finish, Class: job.ConfigInvalid, Message: err.Error()}, nil
	case errors.As(err, &missing):
		return Decision{Do: Note, Reason: missing.Reason, Message: err.Error() + remedy(in), Recheck: missingPatience}, nil
	case errors.Is(err, errNotOurs):
		return Decision{Do: Note, Reason: v1alpha1.ReasonNameConflict, Message: err.Error(), Recheck: missingPatience}, nil
	}
	return Decision{}, err
}

// remedy is what to do about something missing that nobody will make again by themselves.
func remedy(in Input) string {
	if in.Run.Spec.Trigger.Kind != v1alpha1.TriggerDeletion {
		return ""
	}
	return ": nothing can be destroyed without it; make it again, or set spec.deletionPolicy to Orphan to leave what " +
		"exists"
}

// taken looks at what has the Pod's name already.
func (r *Reconciler) taken(ctx context.Context, in *Input, wanted *corev1.Pod) (Decision, error) {
	var p corev1.Pod
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(wanted), &p); err != nil {
		return Decision{}, fmt.Errorf("reading the Pod that exists already: %w", err)
	}
	if !metav1.IsControlledBy(&p, in.Run) {
		message := fmt.Sprintf("Pod %q exists and is not this Run's: remove it", p.Name)
		return waitFor(*in, v1alpha1.ReasonNameConflict, message, lastPause), nil
	}
	in.Pod = &p
	if err := r.unrecorded(ctx, in); err != nil {
		return Decision{}, err
	}
	return Next(*in), nil
}

// unrecorded reads the Run from the API server itself where a cache has a Pod of it and no launch: the Run in the cache
// may be older than the Pod.
func (r *Reconciler) unrecorded(ctx context.Context, in *Input) error {
	if in.Pod == nil || in.Run.Status.StartedAt != nil {
		return nil
	}
	var live v1alpha1.Run
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(in.Run), &live); err != nil {
		return fmt.Errorf("reading Run: %w", err)
	}
	in.Run = &live
	if live.Status.StartedAt != nil && !own(&live, in.Pod) {
		in.Pod, in.Gone = nil, true
	}
	return nil
}

// errLaunched: another controller has launched the Run meanwhile.
var errLaunched = errors.New("it is launched already: looking again")

// record writes down that the Run is launched, and with which Pod. Whoever has written to the Run in between, such as a
// person who cancels it, is no reason to give the Pod up; another launch is.
func (r *Reconciler) record(ctx context.Context, in Input, made prepared) error {
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		before := in.Run.DeepCopy()
		begin(in, made)
		from := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
		err := r.Client.Status().Patch(ctx, in.Run, from)
		if !apierrors.IsConflict(err) {
			return err
		}
		var fresh v1alpha1.Run
		if readErr := r.Live.Get(ctx, client.ObjectKeyFromObject(in.Run), &fresh); readErr != nil {
			return readErr
		}
		if fresh.UID != in.Run.UID || fresh.Status.StartedAt != nil || Finished(&fresh) {
			return errLaunched
		}
		*in.Run = fresh
		return err
	})
	if errors.Is(err, errLaunched) {
		err = errors.Join(err, r.deletePod(ctx, made.Pod))
	}
	if err != nil {
		return fmt.Errorf("recording the launch of Pod %q: %w", made.Name, err)
	}
	return nil
}

func begin(in Input, made prepared) {
	s := &in.Run.Status
	s.StartedAt = new(metav1.NewTime(in.Now))
	s.PodName, s.PodUID = made.Name, made.UID
	s.WorkspaceUID = in.Workspace.UID
	s.WorkspaceGeneration = in.Workspace.Generation
	s.InputsDigest, s.FilesDigest = made.digest, made.files
	s.Backend = made.place.DeepCopy()
	s.Refused = nil
	note(in.Run, v1alpha1.ReasonLaunching, launching(in.Run))
}

// own tells whether a Pod is the Run's: of a Run that is launched, the one that its launch has recorded. A release
// before there were records has left none.
func own(r *v1alpha1.Run, p *corev1.Pod) bool {
	recorded := r.Status.PodUID
	return metav1.IsControlledBy(p, r) && (recorded == "" || recorded == p.UID)
}
