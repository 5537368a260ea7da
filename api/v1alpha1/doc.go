// Package v1alpha1 is what users ask of Plumbline and what they see of it: Workspace (one Terraform state and the
// configuration that belongs to it), Run (one execution of Terraform, immutable) and RunnerClass (what the platform
// team decides about the Pods that runs happen in).
//
// Whatever can be known to be wrong when an object is applied is refused by the CEL rules in these types; what only
// Terraform can know becomes a condition. Conditions follow kstatus: Ready, Reconciling, Stalled.
//
// +kubebuilder:object:generate=true
// +groupName=plumbline.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	// GroupVersion is the group and version of every type in this package.
	GroupVersion = schema.GroupVersion{Group: "plumbline.dev", Version: "v1alpha1"}

	schemeBuilder = runtime.NewSchemeBuilder(register)

	// AddToScheme registers the types with a runtime.Scheme.
	AddToScheme = schemeBuilder.AddToScheme
)

func register(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &Workspace{}, &WorkspaceList{}, &Run{}, &RunList{}, &RunnerClass{}, &RunnerClassList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}

// Labels, annotations and finalizers that Plumbline reads or writes.
const (
	// LabelWorkspace is on Runs, Pods and Secrets and names the Workspace (cut and hashed when over 63 characters).
	LabelWorkspace = "plumbline.dev/workspace"
	// LabelRun is on runner Pods and names the Run.
	LabelRun = "plumbline.dev/run"
	// AnnotationRerun on a Workspace asks for a Run now whenever its value changes.
	AnnotationRerun = "plumbline.dev/rerun"
	// AnnotationUnlock on a Workspace asks for the release of the lock, in a backend that isn't Plumbline's own, whose ID
	// it names; once for each ID.
	AnnotationUnlock = "plumbline.dev/unlock"
	// AnnotationAdoptState on a Workspace whose state is missing says what to do about it, once for each value: the UID of
	// the Workspace that a state was kept for, to take it over, or AdoptNone.
	AnnotationAdoptState = "plumbline.dev/adopt-state"
	// AdoptNone is to expect no state, and to go on with what is there or with none.
	AdoptNone = "none"
	// AnnotationInstallation on a Workspace is the system namespace of the installation that looks after it.
	AnnotationInstallation = "plumbline.dev/installation"
	// AnnotationDefaultClass set to "true" marks the RunnerClass of Workspaces that name none.
	AnnotationDefaultClass = "plumbline.dev/default-class"
	// Finalizer keeps a deleted Workspace until its infrastructure is destroyed (or deliberately left).
	Finalizer = "plumbline.dev/workspace"
)
