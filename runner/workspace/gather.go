package workspace

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/runner/inputs"
	"github.com/plumbline-dev/plumbline/runner/run"
	"github.com/plumbline-dev/plumbline/runner/schedule"
)

// gather reads all that decides about a Workspace. It is the only file here that reads the cluster for a decision.
func (r *Reconciler) gather(ctx context.Context, w *v1alpha1.Workspace) (Input, error) {
	in := Input{Workspace: w, Reruns: map[string]bool{}, Unlocks: map[string]bool{}, Now: r.Clock.Now()}
	if err := r.runs(ctx, &in); err != nil {
		return Input{}, err
	}
	var class *v1alpha1.RunnerClass
	var err error
	if class, err = inputs.Class(ctx, r.Client, w); err != nil {
		if err := in.lacks(err); err != nil {
			return Input{}, err
		}
	} else if err := in.lacks(errors.Join(inputs.CheckVault(w, class), inputs.CheckTemplates(w, class))); err != nil {
		return Input{}, err
	}
	in.Retry = retryPolicy(w, class)
	in.Share = schedule.Thousandths(w.UID)
	if in.asksForDigest() {
		if err := r.digest(ctx, &in); err != nil {
			return Input{}, err
		}
	}
	if in.Active == nil && w.DeletionTimestamp == nil {
		if err := in.lacks(inputs.Trust(ctx, r.Live, w, class)); err != nil {
			return Input{}, err
		}
	}
	in.ticks()
	return in, in.moved()
}

// runs reads the Workspace's Runs.
func (r *Reconciler) runs(ctx context.Context, in *Input) error {
	var list v1alpha1.RunList
	err := r.Client.List(ctx, &list, client.InNamespace(in.Workspace.Namespace),
		client.MatchingFields{run.IndexWorkspace: in.Workspace.Name})
	if err != nil {
		return fmt.Errorf("listing Runs: %w", err)
	}
	in.sort(run.AllBelieved(in.Workspace, list.Items))
	return nil
}

// sort keeps of the Workspace's Runs what the rules ask for.
func (in *Input) sort(all []v1alpha1.Run) {
	mine := slices.DeleteFunc(all, func(x v1alpha1.Run) bool { return run.Foreign(in.Workspace, &x) })
	in.Active = run.Turn(mine)
	for i := range mine {
		if t := mine[i].Spec.Trigger; t.Kind == v1alpha1.TriggerRerun {
			in.Reruns[t.Key] = true
		}
		if id := mine[i].Spec.ForceUnlock; id != "" {
			in.Unlocks[id] = true
		}
	}
	in.Finished = run.Ended(in.Workspace, mine)
	in.Lies = run.StateLies(in.Workspace, in.Finished)
	in.Last, in.Compared = telling(in.Finished)
}

// telling picks from the finished Runs, oldest first, the newest that says whether the Workspace is what was asked
// for, and the newest that compared it with reality. A plan that ended well is only the latter: it says nothing about
// what was asked for, but that plans that failed before it need no retry any more.
func telling(finished []v1alpha1.Run) (last, compared *v1alpha1.Run) {
	for i := len(finished) - 1; i >= 0 && (last == nil || compared == nil); i-- {
		r := &finished[i]
		if !Tells(r) {
			continue
		}
		if compared == nil && succeeded(r) {
			compared = r
		}
		if last == nil && (r.Spec.Operation != v1alpha1.OperationPlan || compared == nil) {
			last = r
		}
	}
	return last, compared
}

// Tells says whether a finished Run speaks for its Workspace: it was to bring about, or on schedule to confirm, what is
// asked for. A person's Plan or Refresh, or part of an apply, doesn't.
func Tells(r *v1alpha1.Run) bool {
	kind := r.Spec.Trigger.Kind
	if r.Status.StartedAt == nil && !unlaunchedTells(kind) || len(r.Spec.Targets) > 0 {
		return false
	}
	switch r.Spec.Operation {
	case v1alpha1.OperationApply, v1alpha1.OperationDestroy:
		return true
	case v1alpha1.OperationPlan:
		return kind == v1alpha1.TriggerSchedule || kind == v1alpha1.TriggerRetry
	}
	return false
}

// unlaunchedTells: a Run that ended before it was launched (canceled, or refused) tried nothing. But where what it was
// made for still holds, it would be made again under the same name: its end is the answer.
func unlaunchedTells(kind v1alpha1.TriggerKind) bool {
	return kind == v1alpha1.TriggerChange || kind == v1alpha1.TriggerRetry || kind == v1alpha1.TriggerDependency
}

// digest renders the inputs as a Run would.
func (r *Reconciler) digest(ctx context.Context, in *Input) error {
	bundle, err := inputs.Bundle(ctx, r.Live, in.Workspace)
	if err != nil {
		return in.lacks(err)
	}
	in.Digest, in.FilesDigest = bundle.Digest, bundle.FilesDigest
	return nil
}

// lacks keeps what is missing or wrong as a fact; any other error is a failed read and stays one.
func (in *Input) lacks(err error) error {
	var m *inputs.MissingError
	var i *inputs.InvalidError
	switch {
	case errors.As(err, &m):
		in.Missing, in.MissingReason = m.What, m.Reason
	case errors.As(err, &i):
		in.Invalid = i.What
	default:
		return err
	}
	return nil
}

// moved stops a Workspace whose backend has changed, as long as nobody says what is to become of the state.
func (in *Input) moved() error {
	why, err := run.Moved(in.Workspace, in.Lies)
	if why != "" && in.Invalid == "" {
		in.Invalid = why
	}
	return err
}

// ticks reads the schedule. One that is wrong stops the Workspace: it would else never be compared with reality, and
// nobody would notice.
func (in *Input) ticks() {
	d := in.Workspace.Spec.Drift
	if d == nil {
		return
	}
	s, err := schedule.For(*d, in.Workspace.UID, in.Workspace.CreationTimestamp.Time)
	if err != nil {
		in.Invalid = err.Error()
		return
	}
	if d.Jitter == nil {
		s = s.Spread(in.Share)
	}
	in.Tick, in.NextTick = in.nextTicks(s.From(in.Now))
}

// skew is how far a clock may be ahead of this one and still be believed: that of the controller that led before.
const skew = time.Minute

// believes tells whether something can have happened then. A clock that was wrong, or a Run that was forged, would else
// have a say until that time comes.
func (in *Input) believes(t time.Time) bool { return !t.After(in.Now.Add(skew)) }

// nextTicks are the newest tick that is due, zero for none, and the first that is still to come. A tick that has a Run
// is over, should the clock say later that it is due.
func (in *Input) nextTicks(s schedule.Ticks) (due, next time.Time) {
	since := in.Workspace.CreationTimestamp.Time
	if since.After(in.Now) {
		since = in.Now
	}
	if last := in.Workspace.Status.LastScheduleTime; last != nil && in.believes(last.Time) {
		since = last.Time
	}
	ran := map[int64]bool{}
	for i := range in.Finished {
		tick, ok := tickOf(&in.Finished[i])
		if !ok {
			continue
		}
		ran[tick.Unix()] = true
		if in.believes(tick) && tick.After(since) {
			since = tick
		}
	}
	if tick, is := s.Due(since, in.Now); is {
		due = tick
	}
	for next = s.Next(latest(since, in.Now)); ran[next.Unix()] && !next.IsZero(); {
		next = s.Next(next)
	}
	return due, next
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// tickOf is the tick that a scheduled Run was made for.
func tickOf(r *v1alpha1.Run) (time.Time, bool) {
	if r.Spec.Trigger.Kind != v1alpha1.TriggerSchedule {
		return time.Time{}, false
	}
	tick, err := time.Parse(time.RFC3339, r.Spec.Trigger.Key)
	return tick, err == nil
}

func retryPolicy(w *v1alpha1.Workspace, c *v1alpha1.RunnerClass) RetryPolicy {
	p := RetryPolicy{Limit: 5, MinDelay: 15 * time.Second, MaxDelay: 15 * time.Minute}
	if c != nil {
		p.override(c.Spec.Retry)
	}
	p.override(w.Spec.Retry)
	return p
}

func (p *RetryPolicy) override(by *v1alpha1.Retry) {
	if by == nil {
		return
	}
	if by.Limit != nil {
		p.Limit = *by.Limit
	}
	if by.MinDelay != nil {
		p.MinDelay = by.MinDelay.Duration
	}
	if by.MaxDelay != nil {
		p.MaxDelay = by.MaxDelay.Duration
	}
}
