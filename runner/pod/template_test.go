package pod

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
)

// TestBuild_AClassThatIsSilent leaves the place of its Pods to the Workspace.
func TestBuild_AClassThatIsSilent(t *testing.T) {
	in := input()
	in.Workspace.Spec.PodTemplate = &v1alpha1.PodTemplate{
		NodeSelector: map[string]string{"zone": "x"}, PriorityClassName: "high", Tolerations: []corev1.Toleration{{Key: "a"}},
	}
	s := Build(in).Spec
	if s.NodeSelector["zone"] != "x" || s.PriorityClassName != "high" || len(s.Tolerations) != 1 {
		t.Errorf("got %v, %q, %v", s.NodeSelector, s.PriorityClassName, s.Tolerations)
	}
}
