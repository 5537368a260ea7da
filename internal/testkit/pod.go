package testkit

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
)

const (
	container = "runner"
	image     = "registry.example/runner:1"
)

// PodBuilder builds the Pod of a Run as the API server shows it.
type PodBuilder struct{ p corev1.Pod }

// Pod is the Run's, not yet scheduled.
func Pod(r *v1alpha1.Run) *PodBuilder {
	p := corev1.Pod{ObjectMeta: meta(r.Name)}
	p.Labels = map[string]string{
		"app.kubernetes.io/name": "plumbline", "app.kubernetes.io/component": "runner",
		v1alpha1.LabelWorkspace: r.Spec.WorkspaceName, v1alpha1.LabelRun: r.Name,
	}
	p.Annotations = map[string]string{v1alpha1.LabelWorkspace: r.Spec.WorkspaceName}
	p.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(r, v1alpha1.GroupVersion.WithKind("Run"))}
	p.Spec.Containers = []corev1.Container{{Name: container, Image: image}}
	p.Spec.ActiveDeadlineSeconds = new(int64(3600))
	p.Spec.NodeName = "node-1"
	p.Status.Phase = corev1.PodPending
	return &PodBuilder{p}
}

// Obj returns what was built.
func (b *PodBuilder) Obj() *corev1.Pod { return b.p.DeepCopy() }

// Waiting says why the container has not started.
func (b *PodBuilder) Waiting(reason, message string) *PodBuilder {
	return b.state(corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}})
}

// Running says since when the container runs.
func (b *PodBuilder) Running(since time.Time) *PodBuilder {
	b.p.Status.Phase = corev1.PodRunning
	return b.state(corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(since)}})
}

// Terminated says how the container ended; the Pod's phase is left as it is.
func (b *PodBuilder) Terminated(reason string, code int32, message string) *PodBuilder {
	return b.state(corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		Reason: reason, ExitCode: code, Message: message,
	}})
}

// Failed is the Pod's phase and its reason, such as Evicted.
func (b *PodBuilder) Failed(reason, message string) *PodBuilder {
	b.p.Status.Phase, b.p.Status.Reason, b.p.Status.Message = corev1.PodFailed, reason, message
	return b
}

// Said ends the container with the driver's result as its last word.
func (b *PodBuilder) Said(r job.Result) *PodBuilder {
	r.Run = b.p.Name
	encoded, err := job.Encode(r)
	if err != nil {
		panic(err)
	}
	if r.Class.Succeeded() {
		b.p.Status.Phase = corev1.PodSucceeded
		return b.Terminated("Completed", 0, string(encoded))
	}
	b.p.Status.Phase = corev1.PodFailed
	return b.Terminated("Error", 1, string(encoded))
}

// Condition adds a condition, such as DisruptionTarget.
func (b *PodBuilder) Condition(kind corev1.PodConditionType, s corev1.ConditionStatus, reason,
	message string) *PodBuilder {
	c := corev1.PodCondition{Type: kind, Status: s, Reason: reason, Message: message}
	b.p.Status.Conditions = append(b.p.Status.Conditions, c)
	return b
}

// Deleting says that the Pod was asked to stop.
func (b *PodBuilder) Deleting(at time.Time) *PodBuilder {
	b.p.DeletionTimestamp = new(metav1.NewTime(at))
	return b
}

// With changes what no other method does.
func (b *PodBuilder) With(change func(*corev1.Pod)) *PodBuilder {
	change(&b.p)
	return b
}

func (b *PodBuilder) state(s corev1.ContainerState) *PodBuilder {
	b.p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: container, Image: image, State: s}}
	return b
}
