package v1alpha1

// LogLevel is how much an engine and its providers log, as TF_LOG has it.
//
// +kubebuilder:validation:Enum=TRACE;DEBUG;INFO;WARN;ERROR
type LogLevel string

// Engine is how Terraform or OpenTofu is run. It is no input of the configuration: a change of it starts no Run, and is
// the next one's.
type Engine struct {
	// logLevel has the engine and its providers log into the Run's log, as TF_LOG would; what is known to be secret is
	// masked there like everywhere else.
	// +optional
	LogLevel LogLevel `json:"logLevel,omitempty"`
	// parallelism is how many resources are worked on at once, as -parallelism would; the engine's own number otherwise.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=256
	Parallelism int32 `json:"parallelism,omitempty"`
}
