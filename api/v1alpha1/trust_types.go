package v1alpha1

// TrustBundle names CA certificates, in PEM, that are trusted beside the system's. It lies in the Workspace's
// namespace, also where a RunnerClass names it: such a bundle is looked up where each Workspace is.
//
// +kubebuilder:validation:XValidation:rule="has(self.configMapName) != has(self.secretName)",message="set exactly one of configMapName, secretName"
type TrustBundle struct {
	// configMapName is a ConfigMap, such as OpenShift's openshift-service-ca.crt.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ConfigMapName string `json:"configMapName,omitempty"`
	// secretName is a Secret.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	SecretName string `json:"secretName,omitempty"`
	// key of the bundle in it.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key"`
}
