package pod

import (
	"cmp"
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
)

// merged is the RunnerClass's Pod template with the Workspace's over it: maps and lists are joined, single values of
// the Workspace win. Where Pods run, and what they push aside, is the platform team's to say: there the class wins.
type merged struct {
	class, workspace v1alpha1.PodTemplate
}

func templates(in Input) merged {
	var m merged
	if t := in.Class.Spec.PodTemplate; t != nil {
		m.class = *t
	}
	if t := in.Workspace.Spec.PodTemplate; t != nil {
		m.workspace = *t
	}
	return m
}

func (m merged) labels() map[string]string { return union(m.class.Labels, m.workspace.Labels) }
func (m merged) annotations() map[string]string {
	return union(m.class.Annotations, m.workspace.Annotations)
}

func (m merged) nodeSelector() map[string]string {
	return union(m.workspace.NodeSelector, m.class.NodeSelector)
}

func (m merged) tolerations() []corev1.Toleration {
	if len(m.class.Tolerations) > 0 {
		return m.class.Tolerations
	}
	return m.workspace.Tolerations
}

func (m merged) affinity() *corev1.Affinity {
	if m.workspace.Affinity != nil {
		return m.workspace.Affinity
	}
	return m.class.Affinity
}

func (m merged) env() []corev1.EnvVar {
	return overlay(m.class.Env, m.workspace.Env, func(e corev1.EnvVar) string { return e.Name })
}

func (m merged) imagePullSecrets() []corev1.LocalObjectReference {
	return overlay(m.class.ImagePullSecrets, m.workspace.ImagePullSecrets,
		func(r corev1.LocalObjectReference) string { return r.Name })
}

func (m merged) volumes() []corev1.Volume {
	return overlay(m.class.Volumes, m.workspace.Volumes, func(v corev1.Volume) string { return v.Name })
}

func (m merged) volumeMounts() []corev1.VolumeMount {
	return overlay(m.class.VolumeMounts, m.workspace.VolumeMounts,
		func(v corev1.VolumeMount) string { return v.MountPath })
}

func (m merged) priorityClassName() string {
	return cmp.Or(m.class.PriorityClassName, m.workspace.PriorityClassName)
}

// resources are requests and a memory limit by default, and no CPU limit: one of 100m makes a container start a second
// later.
func (m merged) resources() corev1.ResourceRequirements {
	r := corev1.ResourceRequirements{
		Requests: corev1.ResourceList{
			corev1.ResourceCPU:    resource.MustParse("50m"),
			corev1.ResourceMemory: resource.MustParse("128Mi"),
		},
		Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("2Gi")},
	}
	for _, t := range []*corev1.ResourceRequirements{m.class.Resources, m.workspace.Resources} {
		if t == nil {
			continue
		}
		set(r.Requests, t.Requests)
		raise(r.Limits, t.Requests)
		set(r.Limits, t.Limits)
	}
	return fitRequests(r)
}

// raise lifts a limit that a newly asked for request is over: somebody who asks for much may use it too.
func raise(limits, requests corev1.ResourceList) {
	for name, limit := range limits {
		if request, ok := requests[name]; ok && request.Cmp(limit) > 0 {
			limits[name] = request
		}
	}
}

// set writes b's entries over a's.
func set(a, b corev1.ResourceList) {
	maps.Copy(a, b)
}

// fitRequests lowers a request that is over its limit: somebody who sets a small limit means the request too.
func fitRequests(r corev1.ResourceRequirements) corev1.ResourceRequirements {
	for name, limit := range r.Limits {
		if request, ok := r.Requests[name]; ok && request.Cmp(limit) > 0 {
			r.Requests[name] = limit
		}
	}
	return r
}
