package workspace

import (
	"fmt"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/runner/limits"
	"github.com/plumbline-dev/plumbline/runner/run"
)

// summarize writes the Workspace's status from what was read and decided. It is the only writer of Ready.
//
// While a Run goes on that nothing depends on (a drift check or a rerun of a Workspace that is Ready) nothing is
// changed: it costs no write, and Ready stays as it was.
func summarize(in Input, d Decision) {
	s := &in.Workspace.Status
	s.ObservedGeneration = in.Workspace.Generation
	history(in, s)
	if d.Do == Adopt {
		unexpect(in)
	}
	if d.Do == Dismantle {
		s.LastRerun = rerunKey(in.Workspace) // a rerun of a Workspace that is being deleted is another try to destroy
	}
	comparison(in, s)
	ready := readiness(in, d)
	setCondition(in.Workspace, ready)
	toggle(in.Workspace, v1alpha1.ConditionReconciling, reconciling(in, d, ready))
	toggle(in.Workspace, v1alpha1.ConditionStalled, stall(d))
	s.WaitingFor = waitingFor(in, d)
	s.OutputsSecretName = outputsStand(in)
	if d.Do == Wait && in.Active == nil {
		s.NextRunTime = nextRunTime(in, d)
	}
}

// history takes over what finished Runs say, so that it outlives them.
func history(in Input, s *v1alpha1.WorkspaceStatus) {
	if t := s.LastScheduleTime; t != nil && !in.believes(t.Time) {
		s.LastScheduleTime = nil
	}
	for i := range in.Finished {
		remember(in, s, &in.Finished[i])
		if id := in.Finished[i].Spec.ForceUnlock; id != "" && id == in.Workspace.Annotations[v1alpha1.AnnotationUnlock] {
			s.LastUnlock = id
		}
	}
	s.Backend = in.Lies
	if in.Last != nil {
		s.UID = string(in.Workspace.UID)
	}
	if n := len(in.Finished); n > 0 {
		s.LastRun = lastRun(&in.Finished[n-1])
		s.Sequence = max(s.Sequence, in.Finished[n-1].Status.Sequence)
	}
	s.Failures = 0
	if in.Last != nil && !succeeded(in.Last) {
		s.Failures = in.Last.Spec.Attempt
	}
}

// remember takes over what triggers are answered with, and what was applied.
func remember(in Input, s *v1alpha1.WorkspaceStatus, r *v1alpha1.Run) {
	last := s.LastScheduleTime
	if tick, ok := tickOf(r); ok && in.believes(tick) && (last == nil || tick.After(last.Time)) {
		s.LastScheduleTime = new(metav1.NewTime(tick))
	}
	if t := r.Spec.Trigger; t.Kind == v1alpha1.TriggerRerun && t.Key == rerunKey(in.Workspace) {
		s.LastRerun = t.Key
	}
	if applied(r) && Tells(r) && appliedNews(in.Workspace, r) {
		s.Applied = appliedBy(r, s.Applied)
	}
}

// appliedNews tells whether a Run has applied something that the status doesn't tell of. What a Run is taken over from
// once is not taken over again: somebody may have said since that what it left is expected no longer.
func appliedNews(w *v1alpha1.Workspace, r *v1alpha1.Run) bool {
	a := w.Status.Applied
	if a == nil {
		return true
	}
	return (a.Run != r.Name || !a.At.Equal(r.Status.FinishedAt)) && run.News(w, r, &a.At)
}

// appliedBy is what a Run has applied, and the state that it left.
func appliedBy(r *v1alpha1.Run, before *v1alpha1.Applied) *v1alpha1.Applied {
	a := &v1alpha1.Applied{
		Run: r.Name, InputsDigest: r.Status.InputsDigest, FilesDigest: r.Status.FilesDigest, At: *r.Status.FinishedAt,
		StateSerial: serial(r, before),
	}
	if b := r.Status.Backend; b != nil {
		a.Lineage, a.StoreID = b.Lineage, b.StoreID
	}
	return a
}

// serial is the state's: a Run that wrote no state doesn't know it, and it is the one of before then.
func serial(r *v1alpha1.Run, before *v1alpha1.Applied) int64 {
	if r.Status.StateSerial == 0 && before != nil {
		return before.StateSerial
	}
	return r.Status.StateSerial
}

func lastRun(r *v1alpha1.Run) *v1alpha1.LastRun {
	return &v1alpha1.LastRun{
		Name:         r.Name,
		Trigger:      r.Spec.Trigger.Kind,
		Operation:    r.Spec.Operation,
		Result:       r.Status.Class,
		FinishedAt:   *r.Status.FinishedAt,
		InputsDigest: r.Status.InputsDigest,
		Attempt:      r.Spec.Attempt,
		Changes:      r.Status.Changes,
		Message:      r.Status.Message,
	}
}

// drift follows the last Run that compared: one that planned only and would change resources found drift, any other
// left none.
func drift(in Input, s *v1alpha1.WorkspaceStatus) {
	r := in.Compared
	if r == nil {
		return
	}
	s.Drift = found(r)
	if s.Drift == nil {
		apimeta.SetStatusCondition(&s.Conditions, metav1.Condition{
			Type: v1alpha1.ConditionDrifted, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonInSync,
			ObservedGeneration: compared(r, in.Workspace), Message: inSync(r),
		})
		return
	}
	apimeta.SetStatusCondition(&s.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionDrifted, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonDriftDetected,
		ObservedGeneration: compared(r, in.Workspace),
		Message: fmt.Sprintf("%d resources differ from the configuration; Run %s has the plan", s.Drift.Total,
			r.Name),
	})
}

// compared is the generation that a Run compared with reality.
func compared(r *v1alpha1.Run, w *v1alpha1.Workspace) int64 {
	if r.Status.WorkspaceGeneration == 0 {
		return w.Generation // launched by a release that didn't note it
	}
	return r.Status.WorkspaceGeneration
}

// inSync says that no resource differs. A plan may change outputs alone.
func inSync(r *v1alpha1.Run) string {
	if job.Class(r.Status.Class) == job.Planned {
		return "reality is what the configuration says; outputs alone would change, Run " + r.Name + " has the plan"
	}
	return "reality is what the configuration says"
}

// found is what a plan says of the difference, and nil for none. A plan may change what did not drift, such as what an
// apply left half done: then its changes are counted.
func found(r *v1alpha1.Run) *v1alpha1.DriftStatus {
	if job.Class(r.Status.Class) != job.Planned {
		return nil
	}
	if r.Status.Drift != nil {
		return r.Status.Drift.DeepCopy()
	}
	d := &v1alpha1.DriftStatus{DetectedAt: *r.Status.FinishedAt}
	if c := r.Status.Changes; c != nil {
		d.Total = c.Add + c.Change + c.Destroy + c.Import + c.Forget
	}
	if d.Total == 0 {
		return nil
	}
	return d
}

// readiness is what Ready says.
func readiness(in Input, d Decision) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: d.Reason,
		Message: d.Message}
	switch {
	case in.Workspace.DeletionTimestamp != nil:
		return beingDeleted(c)
	case changing(in, d) || in.Last == nil && unanswered(d):
		c.Status, c.Reason = metav1.ConditionUnknown, v1alpha1.ReasonProgressing
		c.Message = change(in, d)
		return c
	case blocked(in, d):
		return c
	case in.Last != nil && !succeeded(in.Last):
		c.Reason, c.Message = in.Last.Status.Class, in.Last.Status.Message
		return c
	}
	return wellEnded(in, d, c)
}

// wellEnded is what Ready says when what was tried last ended well.
func wellEnded(in Input, d Decision, c metav1.Condition) metav1.Condition {
	switch {
	case in.Active != nil:
		return meanwhile(in, c)
	case empty(in):
		c.Reason, c.Message = v1alpha1.ReasonDestroyed, emptiedBy(in.Last)
		return c
	case !current(in):
		return ahead(in, d, c)
	case in.Last == nil:
		return unknown(readyNow(in.Workspace), in.Workspace)
	case in.Delivery.Reason != "":
		return undelivered(in.Delivery, c)
	}
	return good(in.Last)
}

// unanswered: nothing was ever tried, and something is being done about it now.
func unanswered(d Decision) bool { return d.Do == Create || d.Reason == v1alpha1.ReasonProgressing }

// blocked: something stands in the way that has nothing to do with how the last Run ended.
func blocked(in Input, d Decision) bool {
	switch {
	case d.Blocked, d.Reason == string(job.StateMissing):
		return true
	case d.Reason == v1alpha1.ReasonSuspended:
		return in.Last == nil && in.Workspace.Status.Applied == nil
	}
	return in.Invalid != "" && in.Active == nil || in.Missing != "" && in.Active == nil && d.Do == Wait
}

// changing: a Run is on its way that makes the Workspace something else.
func changing(in Input, d Decision) bool {
	if in.Active != nil {
		k := in.Active.Spec.Trigger.Kind
		return k == v1alpha1.TriggerChange || k == v1alpha1.TriggerDependency ||
			in.Active.Spec.Operation == v1alpha1.OperationDestroy
	}
	k := d.Trigger.Kind
	return d.Do == Create && (empty(in) || k == v1alpha1.TriggerChange || k == v1alpha1.TriggerDependency)
}

func change(in Input, d Decision) string {
	if in.Active != nil {
		return progress(in.Active)
	}
	return fmt.Sprintf("a Run (%s, %s) is being started", d.Operation, d.Trigger.Kind)
}

func beingDeleted(c metav1.Condition) metav1.Condition {
	if c.Reason == "" {
		c.Reason = v1alpha1.ReasonDestroying
	}
	return c
}

// unknown is for a Workspace whose Runs are gone (deleted by a person): what was said before stays.
func unknown(old *metav1.Condition, w *v1alpha1.Workspace) metav1.Condition {
	if old != nil {
		return *old
	}
	c := metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonPending,
		Message: "no Run has ended yet",
	}
	if a := w.Status.Applied; a != nil {
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, string(job.Applied), "applied by Run "+a.Run
	}
	return c
}

// good is what Ready says after a Run that ended well.
func good(last *v1alpha1.Run) metav1.Condition {
	c := metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: last.Status.Class,
		Message: "Run " + last.Name + " ended well",
	}
	if ch := last.Status.Changes; ch != nil {
		c.Message = fmt.Sprintf("Run %s: %s", last.Name, ch.Summary)
	}
	return c
}

// reconciling says what goes on, for a Workspace that isn't Ready or is about to become something else.
func reconciling(in Input, d Decision, ready metav1.Condition) *metav1.Condition {
	c := &metav1.Condition{Type: v1alpha1.ConditionReconciling, Status: metav1.ConditionTrue}
	switch {
	case d.Stalled || d.Reason == v1alpha1.ReasonSuspended || ready.Status == metav1.ConditionTrue:
		return nil
	case in.Active != nil:
		c.Reason, c.Message = v1alpha1.ReasonProgressing, progress(in.Active)
	case d.Do != Wait:
		c.Reason, c.Message = v1alpha1.ReasonProgressing, change(in, d)
	case in.Delivery.Reason != "":
		c.Reason, c.Message = in.Delivery.Reason, in.Delivery.Message
	case in.Last != nil && !succeeded(in.Last) && !d.At.IsZero():
		c.Reason = v1alpha1.ReasonRetrying
		c.Message = fmt.Sprintf("attempt %d failed; the next one starts at %s", in.Last.Spec.Attempt,
			d.At.UTC().Format(time.RFC3339))
	default:
		c.Reason, c.Message = d.Reason, d.Message
	}
	if c.Reason == "" {
		return nil
	}
	return c
}

func stall(d Decision) *metav1.Condition {
	if !d.Stalled {
		return nil
	}
	return &metav1.Condition{Type: v1alpha1.ConditionStalled, Status: metav1.ConditionTrue, Reason: d.Reason,
		Message: d.Message}
}

func waitingFor(in Input, d Decision) string {
	switch {
	case in.Active != nil && in.Workspace.DeletionTimestamp == nil:
		return hindrance(in.Active)
	case d.Do == Wait && !d.Stalled && (in.Last == nil || d.Reason != in.Last.Status.Class):
		return d.Message
	}
	return ""
}

// nextRunTime is when time alone starts the next Run; what is missing or suspended has no time.
func nextRunTime(in Input, d Decision) *metav1.Time {
	if d.At.IsZero() || in.Missing != "" || in.Workspace.Spec.Suspend {
		return nil
	}
	return new(metav1.NewTime(d.At.Truncate(time.Second)))
}

// until is how long to wait before looking again; zero for until something changes.
func until(in Input, d Decision) time.Duration {
	switch {
	case d.Do == Adopt:
		return time.Millisecond // nothing else wakes it
	case d.Do != Wait || in.Active != nil:
		return 0
	case d.At.IsZero() && d.Reason == string(job.StateMissing):
		return heldPatience
	case d.At.IsZero():
		return 0
	}
	return max(d.At.Sub(in.Now), time.Millisecond)
}

func setCondition(w *v1alpha1.Workspace, c metav1.Condition) {
	c.ObservedGeneration, c.Message = w.Generation, limits.Message(c.Message)
	apimeta.SetStatusCondition(&w.Status.Conditions, c)
}

// toggle sets a condition that is there only while it is True, as kstatus wants it.
func toggle(w *v1alpha1.Workspace, kind string, c *metav1.Condition) {
	if c == nil {
		apimeta.RemoveStatusCondition(&w.Status.Conditions, kind)
		return
	}
	setCondition(w, *c)
}
