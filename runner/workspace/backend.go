package workspace

import (
	"context"
	"errors"
	"fmt"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
)

// abroad tells whether the state lies in a backend that isn't Plumbline's own: only Terraform knows what is in it.
func abroad(in Input) bool { return in.Lies != nil && in.Lies.Type != job.OwnBackend }

// unlockAsked releases the lock that a person has named, and goes on as a rerun does.
func unlockAsked(in Input) (Decision, bool) {
	id := unlockID(in)
	if id == "" {
		return Decision{}, false
	}
	d := create(v1alpha1.TriggerRerun, "unlock "+id)
	d.Unlock = id
	return d, true
}

// unlockID is the lock that is to be released; empty for none.
func unlockID(in Input) string {
	if !unlock(in) {
		return ""
	}
	return in.Workspace.Annotations[v1alpha1.AnnotationUnlock]
}

// maxLockID is how long a lock's ID may be; Terraform's own are UUIDs.
const maxLockID = 256

// unlock tells whether the annotation names a lock that no Run was made for yet. Locks of Plumbline's own state service
// have ways of their own.
func unlock(in Input) bool {
	w := in.Workspace
	id := w.Annotations[v1alpha1.AnnotationUnlock]
	foreign := w.Spec.Backend != nil || abroad(in)
	return id != "" && len(id) <= maxLockID && foreign && id != w.Status.LastUnlock && !in.Unlocks[id]
}

// dismiss lets a Workspace go whose last Run has emptied its state. What the state service keeps of it goes too, but
// for a state that was moved away: that is left, as a copy.
func (r *Reconciler) dismiss(ctx context.Context, w *v1alpha1.Workspace) (released bool, err error) {
	_, err = r.State.Forget(ctx, Forgotten{Workspace: w})
	if _, ok := errors.AsType[*MissingError](err); err != nil && !ok { // what is missing there was elsewhere
		return false, fmt.Errorf("%w: %w", errState, err)
	}
	return true, r.release(ctx, w)
}
