package workspace

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/runner/run"
)

// Forgotten is what the state service is asked to forget.
type Forgotten struct {
	Workspace *v1alpha1.Workspace
	// Want is what there should be.
	Want job.Expected
	// Destroyed is the serial of the state that a destruction left which ended well; 0 for none.
	Destroyed int64
}

// MissingError says that there should be a state, and what to do.
type MissingError struct{ Text string }

// Error implements error.
func (e *MissingError) Error() string { return e.Text }

// RefusedError says why a state isn't taken over.
type RefusedError struct{ Text string }

// Error implements error.
func (e *RefusedError) Error() string { return e.Text }

// maxAdoptKey is how long the annotation's value may be; UIDs have 36 characters.
const maxAdoptKey = 64

// adoptKey is what the annotation says about a missing state, as long as it wasn't acted on; empty for nothing. A state
// in another backend than Plumbline's own has ways of its own.
func adoptKey(in Input) string {
	key := in.Workspace.Annotations[v1alpha1.AnnotationAdoptState]
	if key == in.Workspace.Status.LastAdoptState || in.Workspace.Spec.Backend != nil || abroad(in) {
		return ""
	}
	return key
}

// adoptAsked takes a state over. The Run that goes on with it comes after that is written: it would else be told to
// expect what is expected no longer.
func adoptAsked(in Input) (Decision, bool) {
	if adoptKey(in) == "" {
		return Decision{}, false
	}
	return Decision{Do: Adopt, Reason: string(job.StateMissing), Message: "what " + v1alpha1.AnnotationAdoptState +
		" asks for is being done"}, true
}

// adopted goes on, as a rerun does, after somebody has said what to do about the state that the last Run lacked.
func adopted(in Input) (Decision, bool) {
	key := in.Workspace.Status.LastAdoptState
	trigger := "adopt " + key
	if key == "" || key != in.Workspace.Annotations[v1alpha1.AnnotationAdoptState] || in.Reruns[trigger] ||
		in.Last == nil || job.Class(in.Last.Status.Class) != job.StateMissing {
		return Decision{}, false
	}
	return create(v1alpha1.TriggerRerun, trigger), true
}

// adoptState has the state service do what the annotation says; it can be repeated at any point.
func (r *Reconciler) adoptState(ctx context.Context, in Input) error {
	w, key := in.Workspace, adoptKey(in)
	if len(key) > maxAdoptKey {
		return &RefusedError{fmt.Sprintf("it has %d characters, and a UID has 36", len(key))}
	}
	err := r.State.Adopt(ctx, w, key)
	if _, refused := errors.AsType[*RefusedError](err); err != nil && !refused {
		return fmt.Errorf("%w: %w", errState, err)
	}
	if err != nil {
		return err
	}
	said := "the state that was kept for UID " + key + " is this Workspace's now"
	switch key {
	case v1alpha1.AdoptNone:
		said = "no state is expected: the Workspace goes on with what there is, or with none"
	case string(w.UID):
		said = "the state that is there is gone on with"
	}
	r.Recorder.Eventf(w, nil, corev1.EventTypeNormal, "StateAdopted", "Adopt", "%s, as %s asks", said,
		v1alpha1.AnnotationAdoptState)
	return nil
}

// unexpect notes that the annotation was acted on, and forgets what was known of the state until then.
func unexpect(in Input) {
	s := &in.Workspace.Status
	s.LastAdoptState = adoptKey(in)
	if s.Backend != nil {
		run.Unexpect(s.Backend)
		s.Backend.At = new(metav1.NewTime(in.Now))
	}
	s.Sequence++ // the answer has its place among the Runs: what those before it found doesn't count any more
	if s.Applied != nil {
		s.Applied.Lineage, s.Applied.StateSerial, s.Applied.StoreID = "", 0, ""
	}
}

// heldPatience is when to ask the state service again about a state that it lacks, or doesn't hand over: the store may
// be back, a lock be free.
const heldPatience = 5 * time.Minute

// withoutState turns what the state service says of a missing state, or of one that it doesn't hand over, into what the
// Workspace waits for: a person.
func withoutState(err error) (Decision, bool) {
	d := Decision{Do: Wait, Reason: string(job.StateMissing), Stalled: true}
	if missing, ok := errors.AsType[*MissingError](err); ok {
		d.Message = missing.Text
		return d, true
	}
	refused, ok := errors.AsType[*RefusedError](err)
	if ok {
		d.Message = "the annotation " + v1alpha1.AnnotationAdoptState + " asks for what can't be: " + refused.Text +
			". Set it to another UID (plumbline state orphans shows them) or to " + v1alpha1.AdoptNone + ", or remove it"
	}
	return d, ok
}

// adoptedSince tells whether somebody has said what to go on with since a destruction found no state.
func adoptedSince(in Input, last *v1alpha1.Run) bool {
	return in.Workspace.Status.LastAdoptState != "" && job.Class(last.Status.Class) == job.StateMissing &&
		in.Lies != nil && in.Lies.At != nil && in.Lies.At.After(last.Status.FinishedAt.Time)
}

// leftSerial is the serial of the state that the newest destruction left, if it ended well.
func leftSerial(in Input) int64 {
	last := destroyed(in)
	if last == nil || !succeeded(last) || last.Spec.Operation != v1alpha1.OperationDestroy {
		return 0
	}
	return last.Status.StateSerial
}

// restored begins a Run where the status is of another object than this: Workspace and status come from a backup, and
// nothing has yet shown that the state is there too.
func restored(in Input) (Decision, bool) {
	s := in.Workspace.Status
	if in.Last != nil || s.UID == "" || s.UID == string(in.Workspace.UID) {
		return Decision{}, false
	}
	return create(v1alpha1.TriggerChange, fmt.Sprintf("%.12s restored from %s", in.Digest, s.UID)), true
}
