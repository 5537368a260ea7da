package testkit

import (
	"encoding/json"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
)

// Digest is what Runs of this package were given, until a test says something else.
const Digest = "0123456789abcdef0123456789abcdef"

// RunBuilder builds a Run.
type RunBuilder struct{ r v1alpha1.Run }

// Run is a first apply for a change, that waits to be launched.
func Run(workspace, name string) *RunBuilder {
	r := v1alpha1.Run{ObjectMeta: meta(name), Spec: v1alpha1.RunSpec{
		WorkspaceName: workspace,
		Operation:     v1alpha1.OperationApply,
		Trigger:       v1alpha1.Trigger{Kind: v1alpha1.TriggerChange, Key: name},
		InputsDigest:  Digest,
		Attempt:       1,
	}}
	r.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: "Workspace", Name: workspace, UID: UID(workspace),
		Controller: new(true), BlockOwnerDeletion: new(true),
	}}
	return &RunBuilder{r}
}

// Obj returns what was built.
func (b *RunBuilder) Obj() *v1alpha1.Run { return b.r.DeepCopy() }

// Trigger sets what the Run was made for.
func (b *RunBuilder) Trigger(kind v1alpha1.TriggerKind, key string) *RunBuilder {
	b.r.Spec.Trigger = v1alpha1.Trigger{Kind: kind, Key: key}
	return b
}

// Tick makes it a scheduled Run.
func (b *RunBuilder) Tick(at time.Time) *RunBuilder {
	return b.Trigger(v1alpha1.TriggerSchedule, at.UTC().Format(time.RFC3339))
}

// Manual makes it a Run that a person created and nothing owns yet.
func (b *RunBuilder) Manual() *RunBuilder {
	b.r.OwnerReferences = nil
	return b.Trigger(v1alpha1.TriggerManual, "")
}

// Operation sets what Terraform is asked to do.
func (b *RunBuilder) Operation(o v1alpha1.Operation) *RunBuilder {
	b.r.Spec.Operation = o
	return b
}

// Attempt sets which try of one cause it is.
func (b *RunBuilder) Attempt(n int32) *RunBuilder {
	b.r.Spec.Attempt = n
	return b
}

// Cancel asks the Run to end.
func (b *RunBuilder) Cancel() *RunBuilder {
	b.r.Spec.Cancel = true
	return b
}

// Created sets the creation time.
func (b *RunBuilder) Created(at time.Time) *RunBuilder {
	b.r.CreationTimestamp = metav1.NewTime(at)
	return b
}

// Launched writes what a launch writes.
func (b *RunBuilder) Launched(at time.Time) *RunBuilder {
	b.r.Status.StartedAt = new(metav1.NewTime(at))
	b.r.Status.PodName = b.r.Name
	b.r.Status.WorkspaceGeneration = 1
	b.r.Status.InputsDigest = b.r.Spec.InputsDigest
	return b.condition(metav1.ConditionUnknown, v1alpha1.ReasonLaunching, "")
}

// PodGone says since when the Pod is gone.
func (b *RunBuilder) PodGone(at time.Time) *RunBuilder {
	b.r.Status.PodGoneAt = &metav1.Time{Time: at}
	return b
}

// Pending notes what the Run waits for.
func (b *RunBuilder) Pending(why string) *RunBuilder {
	return b.condition(metav1.ConditionUnknown, v1alpha1.ReasonPending, why)
}

// Ended writes how the Run ended; one that was not launched by then never was.
func (b *RunBuilder) Ended(class job.Class, at time.Time) *RunBuilder {
	b.r.Status.FinishedAt = new(metav1.NewTime(at))
	b.r.Status.Class = string(class)
	b.r.Status.Message = fmt.Sprintf("it ended as %s", class)
	status := metav1.ConditionFalse
	if class.Succeeded() {
		status = metav1.ConditionTrue
	}
	return b.condition(status, string(class), b.r.Status.Message)
}

// Given sets the digest and the Workspace's generation that the Run was made from; it follows Launched.
func (b *RunBuilder) Given(digest string, generation int64) *RunBuilder {
	b.r.Status.InputsDigest, b.r.Status.WorkspaceGeneration = digest, generation
	return b
}

// Reported is the driver's result by the short way.
func (b *RunBuilder) Reported(r job.Result) *RunBuilder {
	r.Run = b.r.Name
	raw, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	b.r.Status.Reported = &runtime.RawExtension{Raw: raw}
	return b
}

// With changes what no other method does.
func (b *RunBuilder) With(change func(*v1alpha1.Run)) *RunBuilder {
	change(&b.r)
	return b
}

func (b *RunBuilder) condition(status metav1.ConditionStatus, reason, message string) *RunBuilder {
	b.r.Status.Conditions = []metav1.Condition{{
		Type: v1alpha1.ConditionSucceeded, Status: status, Reason: reason, Message: message,
		LastTransitionTime: metav1.NewTime(Epoch),
	}}
	return b
}
