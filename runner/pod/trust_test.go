package pod

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
)

func TestBuild_Trust(t *testing.T) {
	in := input()
	in.Class.Spec.Trust = []v1alpha1.TrustBundle{{ConfigMapName: "openshift-service-ca.crt", Key: "service-ca.crt"}}
	in.Workspace.Spec.Trust = []v1alpha1.TrustBundle{{SecretName: "cloud-ca", Key: "ca.crt"}}
	p := Build(in)
	names := []string{`ConfigMap "openshift-service-ca.crt", key "service-ca.crt"`, `Secret "cloud-ca", key "ca.crt"`}
	if diff := cmp.Diff(names, paramsOf(t, p).Trust); diff != "" {
		t.Error(diff)
	}
	volumes, mounts := trustOf(p)
	sources := []corev1.VolumeProjection{
		{ConfigMap: &corev1.ConfigMapProjection{
			LocalObjectReference: corev1.LocalObjectReference{Name: "openshift-service-ca.crt"},
			Items:                []corev1.KeyToPath{{Key: "service-ca.crt", Path: "0.pem"}}}},
		{Secret: &corev1.SecretProjection{
			LocalObjectReference: corev1.LocalObjectReference{Name: "cloud-ca"},
			Items:                []corev1.KeyToPath{{Key: "ca.crt", Path: "1.pem"}}}},
	}
	if len(volumes) != 1 || cmp.Diff(sources, volumes[0].Projected.Sources) != "" {
		t.Errorf("volumes: %+v", volumes)
	}
	if len(mounts) != 1 || mounts[0].MountPath != "/trust" || !mounts[0].ReadOnly {
		t.Errorf("mounts: %+v", mounts)
	}
	if volumes, mounts := trustOf(Build(input())); len(volumes)+len(mounts) > 0 {
		t.Error("there is a volume for nothing")
	}
}

func trustOf(p *corev1.Pod) (volumes []corev1.Volume, mounts []corev1.VolumeMount) {
	for _, v := range p.Spec.Volumes {
		if v.Name == "trust" {
			volumes = append(volumes, v)
		}
	}
	for _, m := range p.Spec.Containers[0].VolumeMounts {
		if m.Name == "trust" {
			mounts = append(mounts, m)
		}
	}
	return volumes, mounts
}
