package pod

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/plumbline-dev/plumbline/driver/job"
)

const (
	// pullPatience is how long an image may fail to be pulled: a registry's hiccup passes, a wrong name doesn't.
	pullPatience = 30 * time.Second
	// startPatience is how long a Pod may take to start for any other reason, once a node has taken it.
	startPatience = 10 * time.Minute
)

// Phase is how far a Pod got.
type Phase string

// The phases.
const (
	// Unscheduled: no node has taken it. Room may come as late as it likes: no deadline runs.
	Unscheduled Phase = "Unscheduled"
	// Waiting: a node has taken it, and the container has not started.
	Waiting Phase = "Waiting"
	// Running: the container runs.
	Running Phase = "Running"
	// Failing: it will not start, and is to be deleted.
	Failing Phase = "Failing"
	// Ended: it will never run again.
	Ended Phase = "Ended"
)

// Outcome is what a Pod tells.
type Outcome struct {
	Phase   Phase
	Class   job.Class
	Message string
	// Result is the driver's own word; nil when it left none.
	Result *job.Result
	// Since is when the container started, for Running.
	Since time.Time
	// Recheck is when to look again though nothing is seen to happen; zero for never.
	Recheck time.Duration
}

// Observe reads a Pod back. For one that ended the reasons are asked in the order of how much they explain: the
// driver's own result, eviction, out of memory, the deadline, and at last the bare exit code.
func Observe(p *corev1.Pod, now time.Time) Outcome {
	switch p.Status.Phase {
	case corev1.PodSucceeded, corev1.PodFailed:
		return ended(p)
	}
	status := containerStatus(p)
	if status != nil && status.State.Running != nil {
		return Outcome{Phase: Running, Since: status.State.Running.StartedAt.Time}
	}
	if status != nil && status.State.Terminated != nil {
		// The kubelet sets the Pod's phase a moment after the container's end; the message is complete already.
		return ended(p)
	}
	return waiting(p, status, now)
}

func ended(p *corev1.Pod) Outcome {
	o := Outcome{Phase: Ended}
	terminated := termination(p)
	if terminated != nil && terminated.Message != "" {
		if r, err := job.Parse(terminated.Message); err == nil {
			o.Result, o.Class, o.Message = &r, r.Class, r.Message
		}
	}
	if o.Result != nil && o.Class != job.Canceled {
		return o
	}
	o.Class, o.Message = failure(p, terminated, o)
	return o
}

// failure explains an end that the driver didn't, or explained only as having been asked to stop.
func failure(p *corev1.Pod, t *corev1.ContainerStateTerminated, o Outcome) (job.Class, string) {
	if class, why := Ousted(p); class != "" {
		return class, why
	}
	switch {
	case o.Result != nil:
		return o.Class, o.Message
	case t != nil && t.Reason == "OOMKilled":
		return job.OOMKilled, outOfMemory(p)
	case p.Status.Reason == "NodeLost":
		return job.PodLost, "the Pod's node was lost"
	case p.DeletionTimestamp != nil:
		return job.PodLost, "the Pod was deleted before the driver could report"
	case t == nil:
		return job.PodLost, "the Pod ended without its container having run: " + text(p.Status.Reason, p.Status.Message)
	case t.Reason == "ContainerStatusUnknown":
		return job.PodLost, "the node lost track of the container: " + t.Message
	case t.Reason == "StartError" || t.Reason == "ContainerCannotRun":
		return job.ImageUnavailable, "the container could not start: " + t.Message
	}
	return job.NoResult, fmt.Sprintf("the driver left no result (exit code %d)", t.ExitCode)
}

// Ousted tells whether and why the Pod was made to end from outside: what the driver can't know. The class is empty
// when it was not, or when nothing says so.
func Ousted(p *corev1.Pod) (job.Class, string) {
	switch p.Status.Reason {
	case "Evicted", "Preempting":
		return job.Evicted, text(p.Status.Reason, p.Status.Message)
	case "DeadlineExceeded":
		return job.TimedOut, "the Pod passed its deadline"
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue {
			return job.Evicted, text(c.Reason, c.Message)
		}
	}
	return "", ""
}

func waiting(p *corev1.Pod, status *corev1.ContainerStatus, now time.Time) Outcome {
	since := Taken(p)
	if since.IsZero() {
		return Outcome{Phase: Unscheduled, Message: hindrance(p, status), Recheck: startPatience}
	}
	age := now.Sub(since)
	if status != nil && status.State.Waiting != nil {
		if o, ok := unavailable(p, status.State.Waiting, age); ok {
			return o
		}
	}
	if age >= startPatience {
		return Outcome{Phase: Failing, Class: job.TimedOut, Message: "the Pod did not start: " + hindrance(p, status)}
	}
	return Outcome{Phase: Waiting, Message: hindrance(p, status), Recheck: startPatience - age}
}

// unavailable speaks when the container waits for an image that can't be had.
func unavailable(p *corev1.Pod, w *corev1.ContainerStateWaiting, age time.Duration) (Outcome, bool) {
	message := fmt.Sprintf("image %q: %s", image(p), text(w.Reason, w.Message))
	switch w.Reason {
	case "InvalidImageName", "ErrImageNeverPull":
		return Outcome{Phase: Failing, Class: job.ImageUnavailable, Message: message}, true
	case "ErrImagePull", "ImagePullBackOff", "ImageInspectError", "RegistryUnavailable":
		if age >= pullPatience {
			return Outcome{Phase: Failing, Class: job.ImageUnavailable, Message: message}, true
		}
		return Outcome{Phase: Waiting, Message: message, Recheck: pullPatience - age}, true
	}
	return Outcome{}, false
}

// hindrance is what keeps a Pod from starting, for people.
func hindrance(p *corev1.Pod, status *corev1.ContainerStatus) string {
	if status != nil && status.State.Waiting != nil && status.State.Waiting.Reason != "" {
		return text(status.State.Waiting.Reason, status.State.Waiting.Message)
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return text(c.Reason, c.Message)
		}
	}
	return "no node has started it"
}

// Taken is when a node took the Pod; zero when none has.
func Taken(p *corev1.Pod) time.Time {
	since := p.CreationTimestamp.Time
	for _, c := range p.Status.Conditions {
		switch {
		case c.Type != corev1.PodScheduled:
		case c.Status == corev1.ConditionFalse:
			return time.Time{}
		case c.LastTransitionTime.After(since):
			since = c.LastTransitionTime.Time
		}
	}
	if p.Spec.NodeName == "" && len(p.Status.ContainerStatuses) == 0 {
		return time.Time{}
	}
	return since
}

// image is the runner's: what was injected may stand before it.
func image(p *corev1.Pod) string {
	for _, c := range p.Spec.Containers {
		if c.Name == container {
			return c.Image
		}
	}
	return ""
}

func containerStatus(p *corev1.Pod) *corev1.ContainerStatus {
	for i := range p.Status.ContainerStatuses {
		if p.Status.ContainerStatuses[i].Name == container {
			return &p.Status.ContainerStatuses[i]
		}
	}
	return nil
}

func termination(p *corev1.Pod) *corev1.ContainerStateTerminated {
	if s := containerStatus(p); s != nil {
		return s.State.Terminated
	}
	return nil
}

// Over tells whether nothing of the Pod can run any more, as far as its object tells.
func Over(p *corev1.Pod) bool {
	if p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		return true
	}
	s := containerStatus(p)
	return s != nil && s.State.Terminated != nil
}

// Lingers tells whether the driver has ended and something that was injected beside it has not. The Run is over with
// its driver, and nothing of it is to be waited for.
func Lingers(p *corev1.Pod) bool {
	ended := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
	return Over(p) && !ended && len(p.Spec.Containers) > 1 && p.DeletionTimestamp == nil
}

func text(reason, message string) string {
	switch {
	case message == "":
		return reason
	case reason == "":
		return message
	}
	return reason + ": " + message
}

// outOfMemory is about a container that the kernel has ended as a whole, the driver with it: which of its processes
// took the memory is known to nobody.
func outOfMemory(p *corev1.Pod) string {
	limit := "unknown"
	for _, c := range p.Spec.Containers {
		if l, ok := c.Resources.Limits[corev1.ResourceMemory]; ok && c.Name == container {
			limit = l.String()
		}
	}
	return "the runner's container ran out of memory and was killed with all that ran in it, its limit is " + limit +
		": raise spec.podTemplate.resources.limits.memory"
}
