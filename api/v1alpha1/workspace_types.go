package v1alpha1

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Workspace is one Terraform state, the configuration it is made from, and when it is to be applied.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=pws,categories=plumbline
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Last Run",type=date,JSONPath=`.status.lastRun.finishedAt`
// +kubebuilder:printcolumn:name="Next Run",type=string,JSONPath=`.status.nextRunTime`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type Workspace struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec WorkspaceSpec `json:"spec"`
	// +optional
	Status WorkspaceStatus `json:"status,omitzero"`
}

// WorkspaceList is a list of Workspaces.
//
// +kubebuilder:object:root=true
type WorkspaceList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Workspace `json:"items"`
}

// WorkspaceSpec is what a user asks for.
type WorkspaceSpec struct {
	// runnerClassName names the RunnerClass; the class marked plumbline.dev/default-class otherwise.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	RunnerClassName string `json:"runnerClassName,omitempty"`

	// serviceAccountName is the runner Pod's identity; "default" when empty.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	ServiceAccountName string `json:"serviceAccountName,omitempty"`

	// source is where the Terraform configuration comes from.
	Source Source `json:"source"`

	// variables are the root module's input variables.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=256
	Variables []Variable `json:"variables,omitempty"`

	// credentials reach Terraform as environment variables, files and variables.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	Credentials []Credential `json:"credentials,omitempty"`

	// backend is where Terraform keeps the state; Plumbline's own state service otherwise.
	// +optional
	Backend *Backend `json:"backend,omitempty"`

	// backendChange is what happens when the state lies somewhere else than backend says. Refuse starts no Runs and says
	// so. Migrate moves the state, and never over another one. Forget leaves the state where it is, and goes on with what
	// the backend has.
	// +optional
	// +kubebuilder:default=Refuse
	BackendChange BackendChange `json:"backendChange,omitempty"`

	// drift is when the Workspace is planned again though nobody asked, and what is done about a difference.
	// +optional
	Drift *Drift `json:"drift,omitempty"`

	// retry is how a failed Run is tried again; the RunnerClass's otherwise.
	// +optional
	Retry *Retry `json:"retry,omitempty"`

	// engine is how Terraform or OpenTofu is run; each of its fields is the RunnerClass's otherwise.
	// +optional
	Engine *Engine `json:"engine,omitempty"`

	// timeouts end each step of a Run; the RunnerClass's otherwise.
	// +optional
	Timeouts *Timeouts `json:"timeouts,omitempty"`

	// outputs is where Terraform's outputs are written.
	// +optional
	Outputs *Outputs `json:"outputs,omitempty"`

	// deletionPolicy says what happens to the infrastructure when the Workspace is deleted.
	// +optional
	// +kubebuilder:default=Destroy
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`

	// history is how many finished Runs are kept.
	// +optional
	History *History `json:"history,omitempty"`

	// podTemplate is added to the RunnerClass's.
	// +optional
	PodTemplate *PodTemplate `json:"podTemplate,omitempty"`

	// trust is what is trusted beside the system's CAs and the RunnerClass's, by everything in the Pod.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Trust []TrustBundle `json:"trust,omitempty"`

	// suspend stops new Runs from being started; one that goes on is finished. A deletion is carried out all the same.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// Source is where the configuration comes from. Exactly one member is set.
//
// +kubebuilder:validation:XValidation:rule="(has(self.inline) ? 1 : 0) + (has(self.image) ? 1 : 0) == 1",message="set exactly one of inline, image"
type Source struct {
	// inline holds the files themselves.
	// +optional
	Inline *InlineSource `json:"inline,omitempty"`
	// image is a module baked into the runner image.
	// +optional
	Image *ImageSource `json:"image,omitempty"`
}

// InlineSource is a set of files.
//
// +kubebuilder:validation:XValidation:rule="!has(self.executable) || self.executable.all(p, p in self.files)",message="executable names paths that are in files"
type InlineSource struct {
	// files maps relative paths (folders allowed) to contents.
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=256
	// +kubebuilder:validation:XValidation:rule="self.all(p, p.matches('^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$') && !p.matches('(^|/)[.]{1,2}(/|$)'))",message="file names are relative paths of letters, digits, '_', '.', '-' and '/', without '.' and '..'"
	// +kubebuilder:validation:XValidation:rule="self.all(p, size(p) <= 200)",message="a file name has at most 200 characters"
	// +kubebuilder:validation:XValidation:rule="!('terraform.tfvars.json' in self) && !('plumbline_override.tf.json' in self)",message="terraform.tfvars.json and plumbline_override.tf.json are written by Plumbline: put values into spec.variables"
	Files map[string]string `json:"files"`
	// executable names the paths of files whose mode says that they can be executed.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=200
	Executable []string `json:"executable,omitempty"`
}

// ImageSource is a folder of the runner image.
type ImageSource struct {
	// path is the absolute path of the root module in the image.
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^/[A-Za-z0-9_./-]+$`
	// +kubebuilder:validation:XValidation:rule="!self.matches('(^|/)[.]{1,2}(/|$)')",message="path has no '.' and '..' elements"
	Path string `json:"path"`
}

// Variable is one input variable. At most one of value and valueFrom is set; without both its value is null, for that
// is what kubectl apply makes of "value: null". CEL can't see a field that takes any JSON: name and one of the two make
// two properties.
//
// +kubebuilder:validation:MaxProperties=2
type Variable struct {
	// name of the variable in the root module.
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z_][A-Za-z0-9_-]*$`
	Name string `json:"name"`
	// value is any JSON value, null too; it reaches Terraform unchanged and is never evaluated.
	// +optional
	// +nullable
	Value *apiextensionsv1.JSON `json:"value,omitempty"`
	// valueFrom reads the value, as a string, from elsewhere.
	// +optional
	ValueFrom *ValueFrom `json:"valueFrom,omitempty"`
}

// ValueFrom names where a value is read. Exactly one member is set.
//
// +kubebuilder:validation:XValidation:rule="has(self.secretKeyRef) != has(self.configMapKeyRef)",message="set exactly one of secretKeyRef, configMapKeyRef"
type ValueFrom struct {
	// +optional
	SecretKeyRef *KeyRef `json:"secretKeyRef,omitempty"`
	// +optional
	ConfigMapKeyRef *KeyRef `json:"configMapKeyRef,omitempty"`
}

// KeyRef is one key of a Secret or ConfigMap in the Workspace's namespace.
type KeyRef struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key"`
}

// DriftAction is what a scheduled Run does about a difference.
//
// +kubebuilder:validation:Enum=Correct;Report
type DriftAction string

const (
	// DriftCorrect applies the configuration again.
	DriftCorrect DriftAction = "Correct"
	// DriftReport plans only and sets the condition Drifted.
	DriftReport DriftAction = "Report"
)

// Drift is the schedule on which reality is compared with the configuration.
//
// +kubebuilder:validation:XValidation:rule="!has(self.timeZone) || !self.schedule.startsWith('@every')",message="timeZone has no meaning for an @every schedule"
type Drift struct {
	// schedule has the five fields of cron, or is @hourly, @daily, @weekly, @monthly, @yearly or "@every 30m".
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.startsWith('@') ? self.matches('^@(yearly|annually|monthly|weekly|daily|midnight|hourly|every .*)$') : self.matches('^ *[^ ]+( +[^ ]+){4} *$')",message="schedule has five fields (minute hour day-of-month month day-of-week), or is @hourly, @daily, @weekly, @monthly, @yearly or '@every 30m'"
	// +kubebuilder:validation:XValidation:rule="self.startsWith('@') || !self.matches('^ *[^ ]+( +[^ ]+){4} *$') || self.matches('^ *([^ ]+ +){0}([*?]|0*[1-5]?[0-9](-0*[1-5]?[0-9])?)(/[0-9]*[1-9][0-9]*)?(,([*?]|0*[1-5]?[0-9](-0*[1-5]?[0-9])?)(/[0-9]*[1-9][0-9]*)?)*( |$)')",message="schedule: the first field, minute, is 0 to 59; use numbers, *, lists (1,2), ranges (1-5) and steps (*/5)"
	// +kubebuilder:validation:XValidation:rule="self.startsWith('@') || !self.matches('^ *[^ ]+( +[^ ]+){4} *$') || self.matches('^ *([^ ]+ +){1}([*?]|0*(1?[0-9]|2[0-3])(-0*(1?[0-9]|2[0-3]))?)(/[0-9]*[1-9][0-9]*)?(,([*?]|0*(1?[0-9]|2[0-3])(-0*(1?[0-9]|2[0-3]))?)(/[0-9]*[1-9][0-9]*)?)*( |$)')",message="schedule: the second field, hour, is 0 to 23; use numbers, *, lists (1,2), ranges (1-5) and steps (*/5)"
	// +kubebuilder:validation:XValidation:rule="self.startsWith('@') || !self.matches('^ *[^ ]+( +[^ ]+){4} *$') || self.matches('^ *([^ ]+ +){2}([*?]|0*([1-9]|[12][0-9]|3[01])(-0*([1-9]|[12][0-9]|3[01]))?)(/[0-9]*[1-9][0-9]*)?(,([*?]|0*([1-9]|[12][0-9]|3[01])(-0*([1-9]|[12][0-9]|3[01]))?)(/[0-9]*[1-9][0-9]*)?)*( |$)')",message="schedule: the third field, day of month, is 1 to 31; use numbers, *, lists (1,2), ranges (1-5) and steps (*/5)"
	// +kubebuilder:validation:XValidation:rule="self.startsWith('@') || !self.matches('^ *[^ ]+( +[^ ]+){4} *$') || self.matches('^ *([^ ]+ +){3}([*?]|0*([1-9]|1[0-2])(-0*([1-9]|1[0-2]))?|(?i:JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)(-(?i:JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC))?)(/[0-9]*[1-9][0-9]*)?(,([*?]|0*([1-9]|1[0-2])(-0*([1-9]|1[0-2]))?|(?i:JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)(-(?i:JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC))?)(/[0-9]*[1-9][0-9]*)?)*( |$)')",message="schedule: the fourth field, month, is 1 to 12 or JAN to DEC; use numbers, *, lists (1,2), ranges (1-5) and steps (*/5)"
	// +kubebuilder:validation:XValidation:rule="self.startsWith('@') || !self.matches('^ *[^ ]+( +[^ ]+){4} *$') || self.matches('^ *([^ ]+ +){4}([*?]|0*[0-6](-0*[0-6])?|(?i:SUN|MON|TUE|WED|THU|FRI|SAT)(-(?i:SUN|MON|TUE|WED|THU|FRI|SAT))?)(/[0-9]*[1-9][0-9]*)?(,([*?]|0*[0-6](-0*[0-6])?|(?i:SUN|MON|TUE|WED|THU|FRI|SAT)(-(?i:SUN|MON|TUE|WED|THU|FRI|SAT))?)(/[0-9]*[1-9][0-9]*)?)*( |$)')",message="schedule: the fifth field, day of week, is 0 to 6 (Sunday is 0) or SUN to SAT; use numbers, *, lists (1,2), ranges (1-5) and steps (*/5)"
	// +kubebuilder:validation:XValidation:rule="self.startsWith('@') || self.findAll('[0-9]{1,9}-[0-9]{1,9}').all(r, int(r.split('-')[0]) <= int(r.split('-')[1]))",message="schedule: a range begins with its smaller end, such as 1-5 or MON-FRI"
	// +kubebuilder:validation:XValidation:rule="self.startsWith('@') || self.lowerAscii().findAll('[a-z]{3}-[a-z]{3}').all(r, 'janfebmaraprmayjunjulaugsepoctnovdecsunmontuewedthufrisat'.indexOf(r.substring(0, 3)) <= 'janfebmaraprmayjunjulaugsepoctnovdecsunmontuewedthufrisat'.indexOf(r.substring(4)))",message="schedule: a range begins with its smaller end, such as 1-5 or MON-FRI"
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('@every') || self.matches('^@every ([0-9]+([.][0-9]+)?(h|m|s|ms))+$') && duration(self.substring(7)) >= duration('1s')",message="schedule: after '@every ' stands a duration of at least 1s, such as 30m or 1h30m"
	Schedule string `json:"schedule"`
	// timeZone is an IANA name such as Europe/Madrid; UTC when empty.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^([A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*)?$') && self != 'Local'",message="timeZone is an IANA name such as Europe/Madrid"
	TimeZone string `json:"timeZone,omitempty"`
	// jitter delays each tick by up to this long, always by the same share for one Workspace. Without it that is a tenth
	// of the time between two ticks and at most a minute; 0s is on the dot.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(h|m|s|ms))+$') && duration(self) >= duration('0s') && duration(self) <= duration('720h')",message="jitter is a duration such as 90s or 1h30m, 0 or more and at most 720h"
	Jitter *metav1.Duration `json:"jitter,omitempty"`
	// action is what a scheduled Run does about a difference.
	// +optional
	// +kubebuilder:default=Correct
	Action DriftAction `json:"action,omitempty"`
}

// Retry is how failed Runs are tried again: after minDelay, then twice as long each time, up to maxDelay.
type Retry struct {
	// limit is how many retries follow a failure that may be the configuration's own. Failures of the surroundings (a lost
	// Pod, an unreachable service) are retried for as long as they last.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Limit *int32 `json:"limit,omitempty"`
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(h|m|s|ms))+$') && duration(self) > duration('0s') && duration(self) <= duration('720h')",message="minDelay is a duration such as 90s or 1h30m, over 0 and at most 720h"
	MinDelay *metav1.Duration `json:"minDelay,omitempty"`
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(h|m|s|ms))+$') && duration(self) > duration('0s') && duration(self) <= duration('720h')",message="maxDelay is a duration such as 90s or 1h30m, over 0 and at most 720h"
	MaxDelay *metav1.Duration `json:"maxDelay,omitempty"`
}

// Outputs is where Terraform's outputs are written.
type Outputs struct {
	// secretName is the Secret with one key per output; <workspace>-outputs when empty.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`
	SecretName string `json:"secretName,omitempty"`
}

// DeletionPolicy says what happens to the infrastructure of a deleted Workspace.
//
// +kubebuilder:validation:Enum=Destroy;Orphan
type DeletionPolicy string

const (
	// DeletionDestroy runs terraform destroy first.
	DeletionDestroy DeletionPolicy = "Destroy"
	// DeletionOrphan leaves the infrastructure and keeps the state.
	DeletionOrphan DeletionPolicy = "Orphan"
)

// History is how many finished Runs are kept for reading.
type History struct {
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	Succeeded *int32 `json:"succeeded,omitempty"`
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	Failed *int32 `json:"failed,omitempty"`
}

// WorkspaceStatus is what users see.
type WorkspaceStatus struct {
	// conditions: Ready, Reconciling, Stalled (kstatus), Drifted.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// observedGeneration is the generation that the conditions speak of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// sequence is the number of the newest finished Run that this status tells of.
	// +optional
	Sequence int64 `json:"sequence,omitempty"`
	// lastRun is the newest finished Run.
	// +optional
	LastRun *LastRun `json:"lastRun,omitempty"`
	// applied is what was applied last with success.
	// +optional
	Applied *Applied `json:"applied,omitempty"`
	// backend is where the state lies.
	// +optional
	Backend *StatePlace `json:"backend,omitempty"`
	// drift is what the last comparison found, as long as it was not corrected.
	// +optional
	Drift *DriftStatus `json:"drift,omitempty"`
	// nextRunTime is when the schedule or a retry asks for the next Run.
	// +optional
	NextRunTime *metav1.Time `json:"nextRunTime,omitempty"`
	// lastScheduleTime is the newest tick of the schedule that was acted on; missed ticks before it count as one.
	// +optional
	LastScheduleTime *metav1.Time `json:"lastScheduleTime,omitempty"`
	// lastRerun is the value of plumbline.dev/rerun that was acted on last.
	// +optional
	LastRerun string `json:"lastRerun,omitempty"`
	// lastUnlock is the value of plumbline.dev/unlock that was acted on last.
	// +optional
	LastUnlock string `json:"lastUnlock,omitempty"`
	// lastAdoptState is the value of plumbline.dev/adopt-state that was acted on last.
	// +optional
	LastAdoptState string `json:"lastAdoptState,omitempty"`
	// uid is the Workspace's own, as it was when its last Run ended: another one than metadata.uid says that this status
	// was restored from a backup.
	// +optional
	UID string `json:"uid,omitempty"`
	// outputsSecretName is the Secret in which the outputs of the last apply stand.
	// +optional
	OutputsSecretName string `json:"outputsSecretName,omitempty"`
	// failures counts the failed Runs since the last success, change or rerun.
	// +optional
	Failures int32 `json:"failures,omitempty"`
	// waitingFor says what keeps the next Run from starting.
	// +optional
	WaitingFor string `json:"waitingFor,omitempty"`
}

// LastRun is the newest finished Run in short.
type LastRun struct {
	Name       string      `json:"name"`
	Trigger    TriggerKind `json:"trigger"`
	Operation  Operation   `json:"operation"`
	Result     string      `json:"result"`
	FinishedAt metav1.Time `json:"finishedAt"`
	// inputsDigest is the digest of what the Run was given.
	// +optional
	InputsDigest string `json:"inputsDigest,omitempty"`
	// attempt counts the retries of one cause from 1.
	// +optional
	Attempt int32 `json:"attempt,omitempty"`
	// +optional
	Changes *Changes `json:"changes,omitempty"`
	// +optional
	Message string `json:"message,omitempty"`
}

// DriftStatus lists what differs from the configuration.
type DriftStatus struct {
	DetectedAt metav1.Time `json:"detectedAt"`
	// resources holds at most 20; total counts them all.
	// +optional
	// +listType=atomic
	Resources []DriftedResource `json:"resources,omitempty"`
	Total     int32             `json:"total"`
}

// DriftedResource is one resource that differs.
type DriftedResource struct {
	Address string `json:"address"`
	// +listType=atomic
	Actions []string `json:"actions"`
}
