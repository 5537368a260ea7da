package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// Run is one execution of Terraform for one Workspace. Its spec never changes, but for cancel.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=plumbline
// +kubebuilder:printcolumn:name="Workspace",type=string,JSONPath=`.spec.workspaceName`
// +kubebuilder:printcolumn:name="Operation",type=string,JSONPath=`.spec.operation`
// +kubebuilder:printcolumn:name="Trigger",type=string,JSONPath=`.spec.trigger.kind`
// +kubebuilder:printcolumn:name="Result",type=string,JSONPath=`.status.conditions[?(@.type=="Succeeded")].reason`
// +kubebuilder:printcolumn:name="Changes",type=string,JSONPath=`.status.changes.summary`
// +kubebuilder:printcolumn:name="Duration",type=string,JSONPath=`.status.duration`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.message`
type Run struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec RunSpec `json:"spec"`
	// +optional
	Status RunStatus `json:"status,omitzero"`
}

// RunList is a list of Runs.
//
// +kubebuilder:object:root=true
type RunList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Run `json:"items"`
}

// Operation is what Terraform is asked to do.
//
// +kubebuilder:validation:Enum=Plan;Apply;Destroy;Refresh
type Operation string

// The operations.
const (
	// OperationPlan compares and changes nothing.
	OperationPlan Operation = "Plan"
	// OperationApply plans, and applies the plan when it changes anything.
	OperationApply Operation = "Apply"
	// OperationDestroy removes everything in the state.
	OperationDestroy Operation = "Destroy"
	// OperationRefresh brings the state, and nothing else, up to date with reality.
	OperationRefresh Operation = "Refresh"
)

// TriggerKind is what a Run was made for.
//
// +kubebuilder:validation:Enum=Change;Schedule;Rerun;Retry;Dependency;Deletion;Manual
type TriggerKind string

// The kinds of trigger.
const (
	TriggerChange     TriggerKind = "Change"
	TriggerSchedule   TriggerKind = "Schedule"
	TriggerRerun      TriggerKind = "Rerun"
	TriggerRetry      TriggerKind = "Retry"
	TriggerDependency TriggerKind = "Dependency"
	TriggerDeletion   TriggerKind = "Deletion"
	TriggerManual     TriggerKind = "Manual"
)

// Trigger is what a Run was made for.
type Trigger struct {
	// +kubebuilder:default=Manual
	Kind TriggerKind `json:"kind"`
	// key tells two triggers of one kind apart: the inputs' digest, the tick, the annotation's value.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Key string `json:"key,omitempty"`
}

// RunSpec is what is to be done.
//
// +kubebuilder:validation:XValidation:rule="self.workspaceName == oldSelf.workspaceName && self.operation == oldSelf.operation && self.trigger == oldSelf.trigger && has(self.targets) == has(oldSelf.targets) && (!has(self.targets) || self.targets == oldSelf.targets) && has(self.replace) == has(oldSelf.replace) && (!has(self.replace) || self.replace == oldSelf.replace) && has(self.inputsDigest) == has(oldSelf.inputsDigest) && (!has(self.inputsDigest) || self.inputsDigest == oldSelf.inputsDigest) && has(self.forceUnlock) == has(oldSelf.forceUnlock) && (!has(self.forceUnlock) || self.forceUnlock == oldSelf.forceUnlock) && self.attempt == oldSelf.attempt",message="spec is immutable except for cancel: create another Run"
// +kubebuilder:validation:XValidation:rule="!(has(oldSelf.cancel) && oldSelf.cancel) || (has(self.cancel) && self.cancel)",message="cancel can't be taken back: create another Run"
type RunSpec struct {
	// workspaceName is the Workspace in the same namespace.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	WorkspaceName string `json:"workspaceName"`
	// +kubebuilder:default=Apply
	// +optional
	Operation Operation `json:"operation,omitempty"`
	// +kubebuilder:default={kind: Manual}
	// +optional
	Trigger Trigger `json:"trigger,omitzero"`
	// targets restricts the Run to these resource addresses and what they depend on.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=512
	Targets []string `json:"targets,omitempty"`
	// replace forces these resource instances to be made anew.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=512
	Replace []string `json:"replace,omitempty"`
	// forceUnlock is the ID of a lock on the state, in a backend that isn't Plumbline's own, that is released first.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	ForceUnlock string `json:"forceUnlock,omitempty"`
	// inputsDigest is the digest of the inputs that asked for this Run; status.inputsDigest that of those it was given.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	InputsDigest string `json:"inputsDigest,omitempty"`
	// attempt counts the Runs for one cause from 1.
	// +kubebuilder:default=1
	// +optional
	// +kubebuilder:validation:Minimum=1
	Attempt int32 `json:"attempt,omitempty"`
	// cancel asks the Run to end gracefully. It is the one field that may change, and only to true.
	// +optional
	Cancel bool `json:"cancel,omitempty"`
}

// RunStatus is what became of it.
type RunStatus struct {
	// conditions: Succeeded, Unknown while the Run goes on; its reason tells the phase, at the end the class.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// +optional
	StartedAt *metav1.Time `json:"startedAt,omitempty"`
	// +optional
	FinishedAt *metav1.Time `json:"finishedAt,omitempty"`
	// sequence numbers the finished Runs of a Workspace in the order of their ends, which no clock tells for certain.
	// Runs that ended under a release that gave no numbers have none.
	// +optional
	Sequence int64 `json:"sequence,omitempty"`
	// duration from startedAt to finishedAt, for people.
	// +optional
	Duration string `json:"duration,omitempty"`
	// +optional
	PodName string `json:"podName,omitempty"`
	// podUID is that of the Pod that the controller made for the Run. The state service serves no other Pod.
	// +optional
	PodUID types.UID `json:"podUID,omitempty"`
	// workspaceUID is that of the Workspace that the Run was launched for: its state is the Run's.
	// +optional
	WorkspaceUID types.UID `json:"workspaceUID,omitempty"`
	// refused tells how often the API server has refused what the launch needs, for as long as it does.
	// +optional
	Refused *Refusal `json:"refused,omitempty"`
	// podGoneAt is when the Pod was first found gone without a result.
	// +optional
	PodGoneAt *metav1.Time `json:"podGoneAt,omitempty"`
	// inputsDigest of the files the Run was given.
	// +optional
	InputsDigest string `json:"inputsDigest,omitempty"`
	// filesDigest is that of the files themselves, as they were rendered: it tells what their Secret has to hold.
	// +optional
	FilesDigest string `json:"filesDigest,omitempty"`
	// workspaceGeneration is the Workspace's generation that the Run was given.
	// +optional
	WorkspaceGeneration int64 `json:"workspaceGeneration,omitempty"`
	// outputsDigest is the digest of the outputs that the Run read, as they stand in the outputs' Secret.
	// +optional
	OutputsDigest string `json:"outputsDigest,omitempty"`
	// +optional
	Changes *Changes `json:"changes,omitempty"`
	// class is the one word for how the Run ended.
	// +optional
	Class string `json:"class,omitempty"`
	// +optional
	Message string `json:"message,omitempty"`
	// steps of the driver in their order.
	// +optional
	// +listType=atomic
	Steps []RunStep `json:"steps,omitempty"`
	// drift that the plan found: differences nobody asked for.
	// +optional
	Drift *DriftStatus `json:"drift,omitempty"`
	// warnings of the engine, such as a variable that the configuration doesn't declare, or a check that failed.
	// +optional
	Warnings *Warnings `json:"warnings,omitempty"`
	// checks is what became of the configuration's check blocks; absent when the Run knows of none.
	// +optional
	Checks *Checks `json:"checks,omitempty"`
	// reported is the driver's job.Result, written by the state service alone.
	// +optional
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=object
	Reported *runtime.RawExtension `json:"reported,omitempty"`
	// +optional
	StateSerial int64 `json:"stateSerial,omitempty"`
	// revocation is what became of the credentials that a Run without a result left in Vault.
	// +optional
	Revocation Revocation `json:"revocation,omitempty"`
	// backend is where the Run was to find or put the state.
	// +optional
	Backend *StatePlace `json:"backend,omitempty"`
}

// Refusal is a launch that a quota, an admission policy, a webhook or the API server itself has refused. It is tried
// again until it succeeds, and is no attempt of the Run. The condition has the words.
type Refusal struct {
	// since is when it was refused first.
	Since metav1.Time `json:"since"`
	// times is how often it was.
	Times int32 `json:"times"`
	// nextTry is when it is tried again; an edit of the Workspace is tried at once.
	NextTry metav1.Time `json:"nextTry"`
	// generation is the Workspace's that was refused last.
	// +optional
	Generation int64 `json:"generation,omitempty"`
}

// Revocation is what became of the credentials that a Run without a result left in Vault.
//
// +kubebuilder:validation:Enum=Pending;Done;Left
type Revocation string

// The revocations.
const (
	// RevocationPending: the controller is about to revoke them.
	RevocationPending Revocation = "Pending"
	// RevocationDone: they are revoked, or there were none.
	RevocationDone Revocation = "Done"
	// RevocationLeft: they were left to end by themselves, at the Run's deadline at the latest.
	RevocationLeft Revocation = "Left"
)

// Changes is what a plan changes, or an apply changed.
type Changes struct {
	Add     int32 `json:"add"`
	Change  int32 `json:"change"`
	Destroy int32 `json:"destroy"`
	// +optional
	Import int32 `json:"import,omitempty"`
	// forget counts what leaves the state and stays in reality, as a removed block asks for.
	// +optional
	Forget int32 `json:"forget,omitempty"`
	// summary is the same for people: +2 ~1 -0, then <1 for what is imported and .1 for what is forgotten.
	// +optional
	Summary string `json:"summary,omitempty"`
}

// Warnings are what the engine warned of.
type Warnings struct {
	// total counts them all.
	Total int32 `json:"total"`
	// first are the first few, in a line each.
	// +optional
	// +listType=atomic
	First []string `json:"first,omitempty"`
}

// Checks is what became of check blocks.
type Checks struct {
	// failed counts the assertions that don't hold, and what a check could not read.
	Failed int32 `json:"failed"`
	// messages of the first few, in a line each.
	// +optional
	// +listType=atomic
	Messages []string `json:"messages,omitempty"`
}

// RunStep is one step of the driver.
type RunStep struct {
	Name     string          `json:"name"`
	Attempts int32           `json:"attempts"`
	Duration metav1.Duration `json:"duration"`
	// +optional
	Class string `json:"class,omitempty"`
}
