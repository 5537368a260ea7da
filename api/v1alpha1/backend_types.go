package v1alpha1

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Backend is one of Terraform's backends.
type Backend struct {
	// type is the backend's name in Terraform: s3, azurerm, gcs, pg, kubernetes, http, consul ...
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z][a-z0-9_-]*$')",message="type is the name of a Terraform backend, such as s3"
	// +kubebuilder:validation:XValidation:rule="self != 'local'",message="a local state would be gone with the Run's Pod: leave backend out to use Plumbline's state service, or name a backend that lasts"
	// +kubebuilder:validation:XValidation:rule="!(self in ['remote', 'cloud'])",message="remote and cloud run Terraform elsewhere and bring their own variables: leave backend out to use Plumbline's state service, or name a backend that only keeps the state"
	// +kubebuilder:validation:XValidation:rule="self != 'plumbline'",message="leave backend out to use Plumbline's state service"
	Type string `json:"type"`
	// config are the backend's arguments, as far as they aren't secret. They reach Terraform unchanged and are never
	// evaluated.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	Config map[string]apiextensionsv1.JSON `json:"config,omitempty"`
	// secretRef names a Secret, each key of which is one more argument. Where config has it too, the Secret's counts.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!has(self.keys)",message="the secretRef of a backend has no keys: each key of its Secret is an argument"
	SecretRef *SecretRef `json:"secretRef,omitempty"`
}

// BackendChange is what happens when the state lies somewhere else than the spec says.
//
// +kubebuilder:validation:Enum=Refuse;Migrate;Forget
type BackendChange string

const (
	// BackendRefuse starts no Runs.
	BackendRefuse BackendChange = "Refuse"
	// BackendMigrate moves the state.
	BackendMigrate BackendChange = "Migrate"
	// BackendForget goes on with what the new backend has.
	BackendForget BackendChange = "Forget"
)

// StatePlace is a place for a state.
type StatePlace struct {
	// type is the backend's; plumbline for Plumbline's own state service.
	Type string `json:"type"`
	// config are its arguments.
	// +optional
	Config map[string]apiextensionsv1.JSON `json:"config,omitempty"`
	// secretName is the Secret with its secret arguments.
	// +optional
	SecretName string `json:"secretName,omitempty"`
	// digest of type and config: another one is another place.
	Digest string `json:"digest"`
	// lineage tells the state from others, once it is known.
	// +optional
	Lineage string `json:"lineage,omitempty"`
	// serial is the highest that a Run saw there: a state that has a lower one is an old copy.
	// +optional
	Serial int64 `json:"serial,omitempty"`
	// storeID tells the store of Plumbline's state service from others.
	// +optional
	StoreID string `json:"storeID,omitempty"`
	// run is the Run that found it, or put it there, last.
	// +optional
	Run string `json:"run,omitempty"`
	// at is when that Run ended.
	// +optional
	At *metav1.Time `json:"at,omitempty"`
}

// Applied is the last successful apply.
type Applied struct {
	Run          string      `json:"run"`
	InputsDigest string      `json:"inputsDigest"`
	At           metav1.Time `json:"at"`
	// filesDigest is that of the rendered files: it tells what their Secret has to hold.
	// +optional
	FilesDigest string `json:"filesDigest,omitempty"`
	// lineage, stateSerial and storeID say which state the apply left. One that is absent, older, of another lineage or in
	// another store than this is StateMissing.
	// +optional
	Lineage string `json:"lineage,omitempty"`
	// +optional
	StateSerial int64 `json:"stateSerial,omitempty"`
	// storeID is empty for a state in a backend that isn't Plumbline's own.
	// +optional
	StoreID string `json:"storeID,omitempty"`
}
