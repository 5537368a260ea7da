package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RunnerClass is what the platform team decides about runs: the image and the defaults that a Workspace may narrow.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,categories=plumbline
// +kubebuilder:printcolumn:name="Image",type=string,JSONPath=`.spec.image`
// +kubebuilder:printcolumn:name="Default",type=string,JSONPath=`.metadata.annotations.plumbline\.dev/default-class`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type RunnerClass struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec RunnerClassSpec `json:"spec"`
}

// RunnerClassList is a list of RunnerClasses.
//
// +kubebuilder:object:root=true
type RunnerClassList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []RunnerClass `json:"items"`
}

// RunnerClassSpec is what every Run of the class gets.
type RunnerClassSpec struct {
	// image of the runner: the driver, the engine and, usually, a mirror of providers.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Image string `json:"image"`
	// +optional
	// +kubebuilder:default=IfNotPresent
	// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`
	// engine is how Terraform or OpenTofu is run where a Workspace doesn't say.
	// +optional
	Engine *Engine `json:"engine,omitempty"`
	// +optional
	Timeouts *Timeouts `json:"timeouts,omitempty"`
	// +optional
	Retry *Retry `json:"retry,omitempty"`
	// +optional
	PodTemplate *PodTemplate `json:"podTemplate,omitempty"`
	// trust is what is trusted beside the system's CAs, by everything in the Pod. A bundle is looked up in the namespace
	// of each Workspace.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Trust []TrustBundle `json:"trust,omitempty"`
	// pluginMirror is where terraform init finds providers.
	// +optional
	PluginMirror *PluginMirror `json:"pluginMirror,omitempty"`
	// vault is where Workspaces' credentials of the kind vault come from.
	// +optional
	Vault *VaultServer `json:"vault,omitempty"`
}

// PluginMirror is where terraform init finds providers: in path, or else from url, or else from their own registries.
// A provider that is in path is looked for nowhere else, in any version; one that include names is not asked of a
// registry.
//
// +kubebuilder:validation:XValidation:rule="!has(self.include) || has(self.url)",message="include says what url has: set url, or leave include out"
type PluginMirror struct {
	// path of a filesystem mirror in the runner image.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^/.*$`
	Path string `json:"path,omitempty"`
	// url of a network mirror, https, with a trailing slash.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^https://.*/$`
	URL string `json:"url,omitempty"`
	// include names what url has, such as hashicorp/* or example.com/team/dns: other providers are not asked of it, and
	// these of no registry. When empty, url and the registries are asked for all that path lacks.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:Pattern=`^([A-Za-z0-9.:-]+/)?([A-Za-z0-9_-]+|\*)/([A-Za-z0-9_-]+|\*)$`
	Include []string `json:"include,omitempty"`
	// direct lets terraform ask the providers' own registries for what the mirrors lack.
	// +optional
	Direct bool `json:"direct,omitempty"`
}

// PodTemplate is what may be added to a runner Pod. Security settings are Plumbline's own and not here on purpose.
type PodTemplate struct {
	// +optional
	Labels map[string]string `json:"labels,omitempty"`
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`
	// resources of the runner's container. A CPU limit slows every start by a second or more: none by default.
	// +optional
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`
	// +optional
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
	// +optional
	// +listType=atomic
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`
	// +optional
	Affinity *corev1.Affinity `json:"affinity,omitempty"`
	// env is passed on to Terraform.
	// +optional
	// +listType=map
	// +listMapKey=name
	Env []corev1.EnvVar `json:"env,omitempty"`
	// +optional
	// +listType=atomic
	ImagePullSecrets []corev1.LocalObjectReference `json:"imagePullSecrets,omitempty"`
	// +optional
	// +listType=map
	// +listMapKey=name
	Volumes []corev1.Volume `json:"volumes,omitempty"`
	// +optional
	// +listType=map
	// +listMapKey=mountPath
	VolumeMounts []corev1.VolumeMount `json:"volumeMounts,omitempty"`
	// +optional
	PriorityClassName string `json:"priorityClassName,omitempty"`
}
