package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Timeouts end the steps of a Run. Each includes the step's own retries.
type Timeouts struct {
	// credentials is how long Vault is asked for credentials before the Run ends, and is tried again later.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(h|m|s|ms))+$') && duration(self) > duration('0s') && duration(self) <= duration('720h')",message="credentials is a duration such as 90s or 1h30m, over 0 and at most 720h"
	Credentials *metav1.Duration `json:"credentials,omitempty"`
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(h|m|s|ms))+$') && duration(self) > duration('0s') && duration(self) <= duration('720h')",message="init is a duration such as 90s or 1h30m, over 0 and at most 720h"
	Init *metav1.Duration `json:"init,omitempty"`
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(h|m|s|ms))+$') && duration(self) > duration('0s') && duration(self) <= duration('720h')",message="plan is a duration such as 90s or 1h30m, over 0 and at most 720h"
	Plan *metav1.Duration `json:"plan,omitempty"`
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(h|m|s|ms))+$') && duration(self) > duration('0s') && duration(self) <= duration('720h')",message="apply is a duration such as 90s or 1h30m, over 0 and at most 720h"
	Apply *metav1.Duration `json:"apply,omitempty"`
	// stall is for how long Terraform may make no progress before it is ended; "Still creating..." is no progress. A
	// resource that takes longer than that to be made needs a longer one.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(h|m|s|ms))+$') && duration(self) > duration('0s') && duration(self) <= duration('720h')",message="stall is a duration such as 90s or 1h30m, over 0 and at most 720h"
	Stall *metav1.Duration `json:"stall,omitempty"`
	// grace is how long Terraform may take to finish what is in flight after it was asked to stop.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(h|m|s|ms))+$') && duration(self) > duration('0s') && duration(self) <= duration('720h')",message="grace is a duration such as 90s or 1h30m, over 0 and at most 720h"
	Grace *metav1.Duration `json:"grace,omitempty"`
}
