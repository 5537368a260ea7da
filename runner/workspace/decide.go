package workspace

import (
	"fmt"
	"time"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/runner/names"
	"github.com/plumbline-dev/plumbline/runner/run"
)

// Input is everything that a Workspace's next step depends on.
type Input struct {
	Workspace *v1alpha1.Workspace
	// Active is the unfinished Run whose turn it is; nil for none. Foreign Runs (a person's) count too.
	Active *v1alpha1.Run
	// Last is the newest finished Run that tells whether the Workspace is what was asked for; nil for none.
	Last *v1alpha1.Run
	// Compared is the newest finished Run that compared reality with what was asked for; nil for none.
	Compared *v1alpha1.Run
	// Reruns are the keys of the rerun annotation's values that have a Run.
	Reruns map[string]bool
	// Finished are all finished Runs, oldest first.
	Finished []v1alpha1.Run
	// Digest is that of the current inputs; empty when Missing or Invalid speaks.
	Digest string
	// FilesDigest is that of the files which are rendered from them.
	FilesDigest string
	// Missing says what the inputs name and nobody has made yet, with the condition's reason.
	Missing, MissingReason string
	// Lies is where the state lies; nil for nowhere yet.
	Lies *v1alpha1.StatePlace
	// Unlocks are the IDs of locks whose release has a Run.
	Unlocks map[string]bool
	// Delivery is why the outputs of the last apply don't stand in their Secret.
	Delivery Delivery
	// Invalid says what of the spec is wrong that the API server could not know.
	Invalid string
	// Tick is the schedule's newest tick that no Run was made for; zero for none. NextTick is the first in the future.
	Tick, NextTick time.Time
	// Retry is what the class and the Workspace say about retries.
	Retry RetryPolicy
	// Share is the Workspace's part, in thousandths, of what many are spread over.
	Share int64
	Now   time.Time
}

// RetryPolicy is spec.retry with its defaults filled in.
type RetryPolicy struct {
	Limit              int32
	MinDelay, MaxDelay time.Duration
}

// Do is one thing that can be done for a Workspace.
type Do string

// What can be done.
const (
	// Wait does nothing until Decision.At, or until something changes.
	Wait Do = "Wait"
	// Create makes a Run.
	Create Do = "Create"
	// Cancel asks the active Run to end.
	Cancel Do = "Cancel"
	// Dismantle forgets an empty state and lets the Workspace go, or makes a Run that destroys what is in it.
	Dismantle Do = "Dismantle"
	// Dismiss lets the Workspace go whose state is empty, in a backend that can't be asked.
	Dismiss Do = "Dismiss"
	// Adopt does what the annotation says about a state that is missing.
	Adopt Do = "Adopt"
	// Release lets the Workspace go and keeps its state.
	Release Do = "Release"
)

// Decision is the next step, and what to tell people meanwhile.
type Decision struct {
	Do        Do
	Operation v1alpha1.Operation
	Trigger   v1alpha1.Trigger
	Attempt   int32
	// Again is when to look again though nothing is seen to happen; zero for not by time alone.
	Again time.Duration
	// Unlock is the ID of a lock that the Run is to release first; empty for none.
	Unlock string
	// At is when time alone asks for the next step; zero for never.
	At time.Time
	// Reason and Message say what the Workspace waits for when that isn't just the time of At.
	Reason, Message string
	// Blocked: what stands in the way has nothing to do with how the last Run ended.
	Blocked bool
	// Stalled: nothing will happen by itself.
	Stalled bool
}

type rule func(Input) (Decision, bool)

// rules speak in order; the first that has an opinion wins. Adding a trigger is adding a line here.
var rules = []rule{
	deleting, inFlight, suspended, invalid, missing, adoptAsked, adopted, unlockAsked, rerunAsked, restored, inputsChanged,
	retryDue, scheduleDue, emptied,
}

// Next says which Run the Workspace needs now, or how long to wait. It reads nothing but its argument.
func Next(in Input) Decision {
	for _, r := range rules {
		if d, ok := r(in); ok {
			return d
		}
	}
	return Decision{Do: Wait, At: in.NextTick}
}

// deleting ends whatever goes on, and then takes the Workspace apart as its policy says. A suspended Workspace is taken
// apart all the same: nobody should have to unsuspend what they want gone.
func deleting(in Input) (Decision, bool) {
	if in.Workspace.DeletionTimestamp == nil {
		return Decision{}, false
	}
	if a := in.Active; a != nil {
		return leaving(in, a), true
	}
	if in.Workspace.Spec.DeletionPolicy == v1alpha1.DeletionOrphan {
		return Decision{Do: Release}, true
	}
	if d, ok := adoptAsked(in); ok {
		return d, true
	}
	if d, is := collecting(in); is {
		return d, true
	}
	return destroying(in), true
}

// destroying follows the newest Run that destroyed, or tried to.
func destroying(in Input) Decision {
	last := destroyed(in)
	if last == nil {
		return dismantle(1)
	}
	if succeeded(last) && abroad(in) {
		return Decision{Do: Dismiss}
	}
	again := dismantle(last.Spec.Attempt + 1)
	if again.Unlock = unlockID(in); destroyAgain(in, last) {
		return again
	}
	wait := Decision{Do: Wait, Reason: last.Status.Class, Message: last.Status.Message}
	if succeeded(last) {
		wait.Reason = v1alpha1.ReasonDestroying
		wait.Message = "Run " + last.Name + " ended well, and the state is not empty"
	}
	at, retried := retryAt(in, last)
	switch {
	case !retried:
		wait.Stalled = true
	case in.Now.Before(at):
		wait.At = at
	default:
		return again
	}
	return wait
}

// destroyAgain tells whether there is a reason to try at once.
func destroyAgain(in Input, last *v1alpha1.Run) bool {
	edited := last.Status.WorkspaceGeneration < in.Workspace.Generation
	return unlock(in) || rerun(in) || edited || adoptedSince(in, last) || succeeded(last) && !inVain(in) ||
		refusedByTerraform(in, last)
}

// refusedByTerraform tells whether the engine refused what the destruction was given, and what was applied last is
// still to be tried: the next Run is given that, unless the state is to move, for then those files lead elsewhere.
func refusedByTerraform(in Input, last *v1alpha1.Run) bool {
	applied := in.Workspace.Status.Applied
	return applied != nil && last.Status.StartedAt != nil && job.Class(last.Status.Class) == job.ConfigInvalid &&
		last.Status.InputsDigest != applied.InputsDigest && run.Stays(in.Workspace, in.Lies)
}

func leaving(in Input, active *v1alpha1.Run) Decision {
	d := Decision{Do: Wait, Reason: v1alpha1.ReasonDestroying, Message: "Run " + active.Name + " goes on"}
	if why := hindrance(active); why != "" {
		d.Reason, d.Message = phase(active).Reason, "Run "+active.Name+" waits: "+why
	}
	kept := in.Workspace.Spec.DeletionPolicy == v1alpha1.DeletionOrphan
	unwanted := active.Spec.Trigger.Kind != v1alpha1.TriggerDeletion || kept
	if unwanted && !active.Spec.Cancel {
		d.Do = Cancel
	}
	return d
}

func dismantle(attempt int32) Decision {
	return Decision{
		Do:        Dismantle,
		Operation: v1alpha1.OperationDestroy,
		Trigger:   v1alpha1.Trigger{Kind: v1alpha1.TriggerDeletion, Key: fmt.Sprintf("attempt %d", attempt)},
		Attempt:   attempt,
		Reason:    v1alpha1.ReasonDestroying,
		Message:   "the infrastructure is being destroyed",
	}
}

// inVain: two destructions ended well one after the other, and the Workspace is still here, because something is left
// in its state, or holds it. A third one at once would be the start of a storm.
func inVain(in Input) bool {
	well := 0
	for i := len(in.Finished) - 1; i >= 0 && well < 2; i-- {
		r := &in.Finished[i]
		if r.Spec.Trigger.Kind != v1alpha1.TriggerDeletion {
			continue
		}
		if !succeeded(r) {
			return false
		}
		well++
	}
	return well == 2
}

func inFlight(in Input) (Decision, bool) {
	if in.Active == nil {
		return Decision{}, false
	}
	return Decision{Do: Wait, Reason: v1alpha1.ReasonProgressing, Message: progress(in.Active)}, true
}

func suspended(in Input) (Decision, bool) {
	if !in.Workspace.Spec.Suspend {
		return Decision{}, false
	}
	return Decision{Do: Wait, Reason: v1alpha1.ReasonSuspended, Message: "spec.suspend is set"}, true
}

func invalid(in Input) (Decision, bool) {
	if in.Invalid == "" {
		return Decision{}, false
	}
	return Decision{Do: Wait, Reason: string(job.ConfigInvalid), Message: in.Invalid, Stalled: true}, true
}

func missing(in Input) (Decision, bool) {
	if in.Missing == "" {
		return Decision{}, false
	}
	// What is missing is watched; the timer is for an appearance that went unseen.
	return Decision{Do: Wait, Reason: in.MissingReason, Message: in.Missing, At: in.Now.Add(missingPatience)}, true
}

const missingPatience = 5 * time.Minute

func rerunAsked(in Input) (Decision, bool) {
	if !rerun(in) {
		return Decision{}, false
	}
	return create(v1alpha1.TriggerRerun, rerunKey(in.Workspace)), true
}

// rerun tells whether the annotation has a value that no Run answered yet.
func rerun(in Input) bool {
	key := rerunKey(in.Workspace)
	return key != "" && key != in.Workspace.Status.LastRerun && !in.Reruns[key]
}

// rerunKey is the annotation's value, or its hash where it is longer than a trigger's key may be.
func rerunKey(w *v1alpha1.Workspace) string {
	value := w.Annotations[v1alpha1.AnnotationRerun]
	if len(value) > 128 {
		return names.Hash(value)
	}
	return value
}

// inputsChanged compares digests: what was tried last against what is asked for now. After a failure any change of the
// spec counts, for it may be the cure though no input of Terraform changed (a memory limit, a ServiceAccount).
func inputsChanged(in Input) (Decision, bool) {
	cure := in.Last != nil && !succeeded(in.Last) && in.Last.Status.WorkspaceGeneration < in.Workspace.Generation
	if current(in) && !cure {
		return Decision{}, false
	}
	_, after := tried(in)
	return create(v1alpha1.TriggerChange, fmt.Sprintf("%.12s after %s", in.Digest, after)), true
}

// retryDue tries a failed Run again when its delay is over.
func retryDue(in Input) (Decision, bool) {
	if in.Last == nil || succeeded(in.Last) {
		return Decision{}, false
	}
	at, again := retryAt(in, in.Last)
	if !again {
		return stalled(in)
	}
	if in.Now.Before(at) {
		return Decision{Do: Wait, At: at, Reason: in.Last.Status.Class, Message: in.Last.Status.Message}, true
	}
	return Decision{
		Do:        Create,
		Operation: in.Last.Spec.Operation,
		Trigger:   v1alpha1.Trigger{Kind: v1alpha1.TriggerRetry, Key: in.Last.Name},
		Attempt:   in.Last.Spec.Attempt + 1,
	}, true
}

// stalled gives up until a person acts, or the schedule comes round.
func stalled(in Input) (Decision, bool) {
	if d, due := scheduleDue(in); due {
		return d, true
	}
	return Decision{
		Do: Wait, At: in.NextTick, Stalled: true, Reason: in.Last.Status.Class, Message: in.Last.Status.Message,
	}, true
}

func scheduleDue(in Input) (Decision, bool) {
	if in.Tick.IsZero() {
		return Decision{}, false
	}
	d := create(v1alpha1.TriggerSchedule, in.Tick.UTC().Format(time.RFC3339))
	if in.Workspace.Spec.Drift.Action == v1alpha1.DriftReport {
		d.Operation = v1alpha1.OperationPlan
	}
	return d, true
}

func create(kind v1alpha1.TriggerKind, key string) Decision {
	return Decision{
		Do:        Create,
		Operation: v1alpha1.OperationApply,
		Trigger:   v1alpha1.Trigger{Kind: kind, Key: key},
		Attempt:   1,
	}
}

// retryAt is when a failed Run is tried again, and whether it is at all.
func retryAt(in Input, last *v1alpha1.Run) (time.Time, bool) {
	switch job.Class(last.Status.Class).Policy() {
	case job.Retry:
		if last.Spec.Attempt > in.Retry.Limit {
			return time.Time{}, false
		}
	case job.Persist, job.Done:
	default:
		return time.Time{}, false
	}
	policy := in.Retry
	if job.Class(last.Status.Class) == job.CredentialsDenied {
		policy.MinDelay = min(max(policy.MinDelay, deniedDelay), policy.MaxDelay)
	}
	if !in.believes(last.Status.FinishedAt.Time) {
		return in.Now, true // nobody knows how long ago it was
	}
	d := delay(policy, last.Spec.Attempt)
	return last.Status.FinishedAt.Add(d + d/10*time.Duration(in.Share)/1000), true
}

// deniedDelay is the least wait after a refusal. Somebody has to grant what was refused, and whoever counts failed
// logins is not to be given a reason to lock the account.
const deniedDelay = time.Minute

// delay doubles from MinDelay with each attempt, up to MaxDelay.
func delay(p RetryPolicy, attempt int32) time.Duration {
	d := max(p.MinDelay, time.Second)
	for range attempt - 1 {
		if d >= p.MaxDelay/2 {
			return p.MaxDelay
		}
		d *= 2
	}
	return min(d, p.MaxDelay)
}

func succeeded(r *v1alpha1.Run) bool { return job.Class(r.Status.Class).Succeeded() }
