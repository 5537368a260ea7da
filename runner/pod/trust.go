package pod

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
)

// Trust is what a Workspace's Pods trust beside the system's CAs: what the class names, and then what the Workspace
// does.
func Trust(w *v1alpha1.Workspace, c *v1alpha1.RunnerClass) []v1alpha1.TrustBundle {
	var all []v1alpha1.TrustBundle
	if c != nil {
		all = append(all, c.Spec.Trust...)
	}
	return append(all, w.Spec.Trust...)
}

// TrustName is a bundle's name in messages.
func TrustName(t v1alpha1.TrustBundle) string {
	if t.ConfigMapName != "" {
		return fmt.Sprintf("ConfigMap %q, key %q", t.ConfigMapName, t.Key)
	}
	return fmt.Sprintf("Secret %q, key %q", t.SecretName, t.Key)
}

func trustNames(in Input) []string {
	var all []string
	for _, t := range Trust(in.Workspace, in.Class) {
		all = append(all, TrustName(t))
	}
	return all
}

// trustVolumes is one volume for all bundles. The kubelet reads them when the Pod starts: a bundle that was rotated is
// the next Run's.
func trustVolumes(in Input) []corev1.Volume {
	var sources []corev1.VolumeProjection
	for i, t := range Trust(in.Workspace, in.Class) {
		items := []corev1.KeyToPath{{Key: t.Key, Path: job.TrustFile(i)}}
		name := corev1.LocalObjectReference{Name: t.ConfigMapName + t.SecretName} // one of them is empty
		source := corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: name, Items: items}}
		if t.SecretName != "" {
			source = corev1.VolumeProjection{Secret: &corev1.SecretProjection{LocalObjectReference: name, Items: items}}
		}
		sources = append(sources, source)
	}
	if sources == nil {
		return nil
	}
	return []corev1.Volume{{Name: "trust",
		VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: sources}}}}
}

func trustMounts(in Input) []corev1.VolumeMount {
	if len(Trust(in.Workspace, in.Class)) == 0 {
		return nil
	}
	return []corev1.VolumeMount{{Name: "trust", MountPath: job.TrustDir, ReadOnly: true}}
}
