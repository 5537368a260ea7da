package run

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/runner/limits"
)

// Locks is what the controller asks of the state service about the lock of a Workspace's state.
type Locks interface {
	// ReleaseLock frees the lock if its holder has certainly ended.
	ReleaseLock(ctx context.Context, w *v1alpha1.Workspace) (Lock, error)
}

// Lock is what became of a lock.
type Lock struct {
	// Run and Pod held it; empty when nobody did.
	Run, Pod string
	// Kept says, for people, who still holds it, since when and what would release it; empty when it is free.
	Kept string
}

// reasonLockReleased is of the event that tells whose lock was released.
const reasonLockReleased = "LockReleased"

// lockLimit is short: a lock that isn't released here passes over when the next Run asks for it, and nobody is to wait.
const lockLimit = 3 * time.Second

// wordless tells whether a Run that was launched ends, or has ended, without a word of its driver, so that nobody may
// have given its lock back.
func wordless(r *v1alpha1.Run) bool {
	return r != nil && r.Status.StartedAt != nil && r.Status.Reported == nil && len(r.Status.Steps) == 0
}

// releaseLock has the lock of a lost Pod released, and tells so. It returns what keeps the lock of the Run, for people;
// nothing when that is unknown. The event comes before the Run's end is written: a lock is released once.
func (r *Reconciler) releaseLock(ctx context.Context, in Input, lost *v1alpha1.Run) string {
	if in.Workspace == nil || !wordless(lost) {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, lockLimit)
	defer cancel()
	lock, err := r.Locks.ReleaseLock(ctx, in.Workspace)
	switch {
	case err != nil:
		log.FromContext(ctx).Info("the lock of a Run that ended without a word is left to pass over", "run", lost.Name,
			"error", err)
	case lock.Kept != "" && lock.Run == lost.Name:
		return "; the state stays " + lock.Kept
	case lock.Kept == "" && lock.Run != "":
		r.Recorder.Eventf(in.Workspace, lost, corev1.EventTypeNormal, reasonLockReleased, "Unlock", "%s",
			limits.Note("the state's lock of Run %s is released: its Pod %s has ended", lock.Run, lock.Pod))
	}
	return ""
}
