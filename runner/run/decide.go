package run

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/runner/pod"
)

const (
	// settle is how long a Run may go on before its status says Running: most drift checks are over by then, and cost
	// one write less.
	settle = 10 * time.Second
	// creating is how long whoever has made a Pod may take to record it before it counts as nobody's. A controller of an
	// earlier release, which wrote that it would launch before it did, has as long to create the Pod.
	creating = 5 * time.Second
	// dying is how long a Pod counts as at work after it is gone from the API server: one that was deleted by force is
	// gone there before its node has ended it, which takes the kubelet two seconds or a little more. Until then Terraform
	// may be saving what it did, under a lock that must not pass over.
	dying = 6 * time.Second
	// overtime is added to the Pod's own deadline before the controller ends a Run whose kubelet didn't.
	overtime = 5 * time.Minute
)

// Input is what a Run's next step depends on.
type Input struct {
	Run *v1alpha1.Run
	// Workspace is nil when there is none of the Run's name.
	Workspace *v1alpha1.Workspace
	// Doubt says why the Run is not what it claims to be; empty when it is.
	Doubt string
	// Before is the Workspace's Run that ended last; nil for none.
	Before *v1alpha1.Run
	// Pod is the Run's own, or one of its name and owner where no launch is recorded; nil when none was seen.
	Pod *corev1.Pod
	// Gone says that the API server itself, not a cache, was asked for the Pod and had none.
	Gone bool
	// OtherPod is a Pod of another Run of the Workspace that may still be at work; empty for none.
	OtherPod string
	// Lingering are Pods whose driver has ended, and a container that was injected beside it has not.
	Lingering []*corev1.Pod
	// Ended are the Workspace's finished Runs, oldest first.
	Ended []v1alpha1.Run
	// Lies is where the Workspace's state lies; nil for nowhere yet.
	Lies *v1alpha1.StatePlace
	// Sequence is the Run's number, should it end now.
	Sequence int64
	Now      time.Time
}

// Do is one thing that can be done for a Run.
type Do string

// What can be done.
const (
	// Note writes the phase and waits.
	Note Do = "Note"
	// Launch renders the Secret, creates the Pod and records it.
	Launch Do = "Launch"
	// Clear removes a Pod of the Run's that no launch has recorded.
	Clear Do = "Clear"
	// Look asks the API server whether the Pod exists.
	Look Do = "Look"
	// End asks the Pod to stop, and waits for what it says.
	End Do = "End"
	// Finish writes the result.
	Finish Do = "Finish"
	// Abandon deletes the Pod and writes the result.
	Abandon Do = "Abandon"
)

// Decision is the next step.
type Decision struct {
	Do      Do
	Reason  string
	Class   job.Class
	Message string
	Result  *job.Result
	// Refusal is kept with the Run while the API server refuses its launch; nil when it doesn't.
	Refusal *v1alpha1.Refusal
	// Gone says that the Pod was found gone, which is noted with its time.
	Gone bool
	// Recheck is when to look again though nothing is seen to happen; zero for never.
	Recheck time.Duration
}

// Next decides a Run's next step. It reads nothing but its argument.
func Next(in Input) Decision {
	if in.Run.Status.StartedAt == nil {
		return beforeLaunch(in)
	}
	return afterLaunch(in)
}

func beforeLaunch(in Input) Decision {
	switch {
	case in.Pod != nil:
		return clearing(in)
	case in.Run.Spec.Cancel:
		return Decision{Do: Finish, Class: job.Canceled, Message: "canceled before its Pod was created"}
	case in.Workspace == nil:
		return pending(fmt.Sprintf("Workspace %q does not exist", in.Run.Spec.WorkspaceName))
	case in.Doubt != "":
		return Decision{Do: Finish, Class: job.ConfigInvalid, Message: in.Doubt}
	case in.Workspace.DeletionTimestamp != nil && in.Run.Spec.Trigger.Kind != v1alpha1.TriggerDeletion:
		return Decision{Do: Finish, Class: job.Canceled, Message: "the Workspace is being deleted"}
	case in.Workspace.Spec.Suspend && unasked(in.Run):
		return pending("spec.suspend of the Workspace is set")
	case in.OtherPod != "":
		return pending(fmt.Sprintf("Pod %q of an earlier Run has not ended yet: until it has, or its node is removed "+
			"from the cluster, it may hold the state's lock", in.OtherPod))
	}
	if left := pausing(in); left > 0 {
		c := condition(in.Run)
		return Decision{Do: Note, Reason: c.Reason, Message: c.Message, Refusal: in.Run.Status.Refused, Recheck: left}
	}
	return Decision{Do: Launch}
}

// clearing removes what a controller that died between the Pod and its record has left, or what somebody else has made
// under the Run's name. It had no access to the state; what it did elsewhere, it is given the time to end. A young one
// that looks as a controller makes it is left alone: with two at work (one that has just lost its lease, and its
// successor) the other one may be about to record it. A Pod from the future is as old as any.
func clearing(in Input) Decision {
	made := in.Pod.Labels[pod.LabelComponent] == pod.Component
	if age := in.Now.Sub(in.Pod.CreationTimestamp.Time); made && age < creating && age > -creating {
		d := pending(fmt.Sprintf("Pod %q was made for this Run, and its launch is not recorded yet", in.Pod.Name))
		d.Recheck = creating - age
		return d
	}
	d := pending(fmt.Sprintf("Pod %q was made for this Run and its launch is not recorded: it is removed first",
		in.Pod.Name))
	d.Do, d.Recheck = Clear, lastPause
	return d
}

// unasked: nobody asked for this very Run, and a suspension holds it back.
func unasked(r *v1alpha1.Run) bool {
	return r.Spec.Trigger.Kind != v1alpha1.TriggerManual && r.Spec.Trigger.Kind != v1alpha1.TriggerDeletion
}

func pending(message string) Decision {
	return Decision{Do: Note, Reason: v1alpha1.ReasonPending, Message: message}
}

func afterLaunch(in Input) Decision {
	if r := reported(in.Run); r != nil && !unexplained(in, r) {
		return finish(in, r.Class, r.Message, r)
	}
	if in.Pod == nil {
		return unseen(in)
	}
	o := pod.Observe(in.Pod, in.Now)
	switch {
	case o.Phase == pod.Ended:
		return finish(in, o.Class, o.Message, o.Result)
	case o.Phase == pod.Failing:
		d := finish(in, o.Class, o.Message, nil)
		d.Do = Abandon
		return d
	case overdue(in):
		return Decision{Do: Abandon, Class: job.TimedOut, Message: "the Pod passed its deadline and its node did not end it"}
	case in.Pod.DeletionTimestamp != nil:
		return leaving(in)
	case in.Run.Spec.Cancel:
		return Decision{Do: End, Reason: v1alpha1.ReasonCanceling, Message: "the Pod was asked to stop"}
	}
	return ongoing(in, o)
}

// unseen is a Pod that a cache hasn't, and perhaps the API server has.
func unseen(in Input) Decision {
	if !in.Gone {
		return Decision{Do: Look}
	}
	age := in.Now.Sub(in.Run.Status.StartedAt.Time)
	if age < creating && in.Run.Status.PodUID == "" {
		return Decision{Do: Note, Reason: v1alpha1.ReasonLaunching, Message: launching(in.Run), Recheck: creating - age}
	}
	return lost(in)
}

// lost is a Pod that is gone and left no result.
func lost(in Input) Decision {
	since := in.Now
	if at := in.Run.Status.PodGoneAt; at != nil && !at.After(in.Now) { // the clock may have stepped back
		since = at.Time
	}
	if left := dying - in.Now.Sub(since); left > 0 {
		return Decision{Do: Note, Reason: v1alpha1.ReasonPodGone, Recheck: left, Gone: true,
			Message: fmt.Sprintf("Pod %s is gone and left no result; its node may still be ending it", in.Run.Status.PodName)}
	}
	return finish(in, job.PodLost, "the Pod is gone and left no result", nil)
}

// unexplained: the driver was asked to stop and can't know by whom; its Pod will say so in a moment, when it ends.
// Nothing is lost by waiting, for the next Run waits for that too.
func unexplained(in Input, r *job.Result) bool {
	return r.Class == job.Canceled && !in.Run.Spec.Cancel && in.Pod != nil && in.Pod.DeletionTimestamp == nil &&
		!pod.Over(in.Pod) && !overdue(in)
}

// ongoing spares a write for as long as a Run is young.
func ongoing(in Input, o pod.Outcome) Decision {
	since := in.Run.Status.StartedAt.Time
	if o.Phase == pod.Running && o.Since.After(since) {
		since = o.Since
	}
	if age := in.Now.Sub(since); age < settle {
		return Decision{Do: Note, Reason: v1alpha1.ReasonLaunching, Message: launching(in.Run), Recheck: settle - age}
	}
	if o.Phase == pod.Unscheduled {
		return Decision{Do: Note, Reason: v1alpha1.ReasonUnschedulable, Message: o.Message, Recheck: o.Recheck}
	}
	left := deadline(in.Pod) + overtime - in.Now.Sub(pod.Taken(in.Pod))
	if o.Phase == pod.Running {
		message := "Terraform runs in Pod " + in.Pod.Name
		return Decision{Do: Note, Reason: v1alpha1.ReasonRunning, Message: message, Recheck: left}
	}
	return Decision{Do: Note, Reason: v1alpha1.ReasonLaunching, Message: o.Message, Recheck: min(o.Recheck, left)}
}

func launching(r *v1alpha1.Run) string { return "creating Pod " + r.Status.PodName }

// leaving is a Pod that was told to stop and has not ended. Where its node doesn't answer that stays so: only the
// node, or its removal from the cluster, can tell that nothing runs any more.
func leaving(in Input) Decision {
	d := Decision{Do: Note, Reason: v1alpha1.ReasonCanceling, Message: "the Pod was asked to stop"}
	late := in.Now.Sub(in.Pod.DeletionTimestamp.Time)
	if late < time.Minute {
		d.Recheck = time.Minute - late
		return d
	}
	d.Message = fmt.Sprintf("the Pod was asked to stop, and node %q does not say that it did; "+
		"it counts as gone once the node answers or is removed from the cluster", in.Pod.Spec.NodeName)
	return d
}

func deadline(p *corev1.Pod) time.Duration {
	if p.Spec.ActiveDeadlineSeconds == nil {
		return 24 * time.Hour
	}
	return time.Duration(*p.Spec.ActiveDeadlineSeconds) * time.Second
}

// overdue counts from when a node took the Pod, as the node does.
func overdue(in Input) bool {
	taken := pod.Taken(in.Pod)
	return !taken.IsZero() && in.Now.Sub(taken) >= deadline(in.Pod)+overtime
}

// finish tells an end that somebody wanted from one that came from outside: the driver sees only that it was asked to
// stop.
func finish(in Input, c job.Class, message string, r *job.Result) Decision {
	switch {
	case c == job.Canceled && !in.Run.Spec.Cancel:
		c, message = job.PodLost, "the Pod was asked to stop from outside (deleted, or its node drained): "+message
		if in.Pod != nil {
			if class, why := pod.Ousted(in.Pod); class != "" {
				c, message = class, why
			}
		}
	case in.Run.Spec.Cancel && r == nil:
		c, message = job.Canceled, "canceled: "+message
	}
	return Decision{Do: Finish, Class: c, Message: message, Result: r}
}

// reported is the driver's Result by the short way; nil for none, or for one that can't be read (the sure way follows).
func reported(r *v1alpha1.Run) *job.Result {
	if r.Status.Reported == nil {
		return nil
	}
	result, err := job.Parse(string(r.Status.Reported.Raw))
	if err != nil || result.Run != r.Name {
		return nil
	}
	return &result
}

// Turn picks the Run of a Workspace whose turn it is: the one that is under way, else the oldest that waits. There is
// never a second one: whoever reads a stale list picks the same Run again and fails to write it.
func Turn(runs []v1alpha1.Run) *v1alpha1.Run {
	var open []*v1alpha1.Run
	for i := range runs {
		if !Finished(&runs[i]) && runs[i].DeletionTimestamp == nil {
			open = append(open, &runs[i])
		}
	}
	if len(open) == 0 {
		return nil
	}
	return slices.MinFunc(open, func(a, b *v1alpha1.Run) int {
		return cmp.Or(
			cmp.Compare(waiting(a), waiting(b)),
			a.CreationTimestamp.Compare(b.CreationTimestamp.Time),
			cmp.Compare(a.Name, b.Name),
		)
	})
}

func waiting(r *v1alpha1.Run) int {
	if r.Status.StartedAt == nil {
		return 1
	}
	return 0
}

// Finished tells whether the Run has ended.
func Finished(r *v1alpha1.Run) bool {
	return condition(r).Status != metav1.ConditionUnknown && r.Status.FinishedAt != nil
}

// condition is what the Run says of itself; Unknown, and empty, before it has said anything.
func condition(r *v1alpha1.Run) metav1.Condition {
	if c := apimeta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionSucceeded); c != nil {
		return *c
	}
	return metav1.Condition{Status: metav1.ConditionUnknown}
}
