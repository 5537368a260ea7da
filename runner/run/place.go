package run

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/runner/inputs"
)

// StateLies says where a Workspace's state lies; nil where no Run has put one anywhere. Finished are its finished Runs,
// oldest first: what they found is taken over into the Workspace's status, and outlives them there.
func StateLies(w *v1alpha1.Workspace, finished []v1alpha1.Run) *v1alpha1.StatePlace {
	lies := w.Status.Backend.DeepCopy()
	if lies == nil && w.Status.Applied != nil {
		lies = new(inputs.OwnPlace()) // applied by a release that knew of no other place
	}
	if lies != nil {
		withApplied(lies, w.Status.Applied)
	}
	for i := range finished {
		r := &finished[i]
		if w.Status.Backend != nil && !News(w, r, w.Status.Backend.At) {
			continue
		}
		if reached(r) || lies == nil && mayHaveReached(r) {
			lies = found(r, lies)
		}
	}
	return lies
}

// reached tells whether the Run came past init: with it the backend is set up, and the state is moved if it had to be.
func reached(r *v1alpha1.Run) bool {
	return r.Status.StartedAt != nil && (job.Class(r.Status.Class).Succeeded() ||
		slices.ContainsFunc(r.Status.Steps, func(s v1alpha1.RunStep) bool { return s.Name == "plan" || s.Name == "apply" }))
}

// mayHaveReached: the Run's Pod was at work and has left no word of how far it came.
func mayHaveReached(r *v1alpha1.Run) bool {
	if r.Status.StartedAt == nil || len(r.Status.Steps) > 0 {
		return false
	}
	switch job.Class(r.Status.Class) {
	case job.PodLost, job.NoResult, job.OOMKilled, job.Evicted, job.TimedOut, job.Canceled:
		return true
	}
	return false
}

// found is the place that a Run was given, with what is known of the state there.
func found(r *v1alpha1.Run, before *v1alpha1.StatePlace) *v1alpha1.StatePlace {
	p := r.Status.Backend.DeepCopy()
	if p == nil {
		p = new(inputs.OwnPlace()) // launched by a release that knew of no other place
	}
	inherit(p, before)
	p.Run, p.At = r.Name, r.Status.FinishedAt.DeepCopy()
	return p
}

// Moved says that the state lies elsewhere than the Workspace wants it, and that nothing was said about what to do;
// empty otherwise.
func Moved(w *v1alpha1.Workspace, lies *v1alpha1.StatePlace) (string, error) {
	wanted, err := inputs.Place(w)
	if err != nil || lies == nil || lies.Digest == wanted.Digest {
		return "", err
	}
	switch w.Spec.BackendChange {
	case v1alpha1.BackendMigrate, v1alpha1.BackendForget:
		return "", nil
	}
	from, to := named(*lies), named(wanted)
	if lies.Type == wanted.Type {
		from, to = from+" with other arguments (see status.backend)", "this one"
	}
	return fmt.Sprintf("the state lies in %s, and spec.backend has changed to %s: set spec.backendChange to Migrate to "+
		"move the state there, to Forget to go on with what is there, or undo the change", from, to), nil
}

func named(p v1alpha1.StatePlace) string {
	if p.Type == job.OwnBackend {
		return "Plumbline's state service"
	}
	return "the backend " + p.Type
}

// errMoved refuses a Run that nobody has told what to do about the state.
var errMoved = errors.New("refusing to run")

// places are where the Run is to find or put the state, and what its driver is told.
type places struct {
	wanted v1alpha1.StatePlace
	// former is the place that the state is moved away from; nil if it isn't moved.
	former *v1alpha1.StatePlace
}

func (r *Reconciler) places(ctx context.Context, in Input) (places, error) {
	why, err := Moved(in.Workspace, in.Lies)
	if err != nil {
		return places{}, err
	}
	if why != "" {
		return places{}, fmt.Errorf("%w: %s", errMoved, why)
	}
	wanted, err := inputs.Place(in.Workspace)
	if err != nil || in.Lies == nil {
		return places{wanted: wanted}, err
	}
	migrate := in.Workspace.Spec.BackendChange == v1alpha1.BackendMigrate
	switch same := in.Lies.Digest == wanted.Digest; {
	case same:
		expect(&wanted, *in.Lies, in.Workspace.Spec.BackendChange)
	case migrate:
		expect(&wanted, *in.Lies, v1alpha1.BackendMigrate)
		return places{wanted, in.Lies}, inputs.CheckPlace(ctx, r.Live, in.Workspace, *in.Lies)
	}
	return places{wanted: wanted}, nil
}

// refusedInputs is an error when Terraform has refused the inputs that a destruction would be given, and they are
// others than those of the last apply.
func refusedInputs(in Input, digest string) error {
	if !fallsBack(in) || in.Workspace.Status.Applied.InputsDigest == digest {
		return nil
	}
	for _, r := range slices.Backward(in.Ended) {
		if r.Status.StartedAt == nil || r.Status.InputsDigest != digest {
			continue
		}
		if job.Class(r.Status.Class) != job.ConfigInvalid {
			return nil
		}
		return &inputs.InvalidError{What: fmt.Sprintf("Terraform refused the present inputs in Run %s, and the files of "+
			"the last apply are gone: %s", r.Name, r.Status.Message)}
	}
	return nil
}

// fallsBack tells whether a Run may use the files of the last apply when its inputs are of no use.
func fallsBack(in Input) bool {
	return in.Run.Spec.Operation == v1alpha1.OperationDestroy && in.Workspace.Status.Applied != nil &&
		Stays(in.Workspace, in.Lies)
}

// Stays tells whether the state lies where the Workspace wants it, so that files of an earlier Run lead there too.
func Stays(w *v1alpha1.Workspace, lies *v1alpha1.StatePlace) bool {
	wanted, err := inputs.Place(w)
	return err == nil && (lies == nil || lies.Digest == wanted.Digest)
}
