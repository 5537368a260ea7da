package pod

import (
	"encoding/json"

	corev1 "k8s.io/api/core/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
)

// aboutState tells the driver what is known of the state and its locks.
func aboutState(in Input, p *job.Params) {
	p.ForceUnlock = in.Run.Spec.ForceUnlock
	p.Place.Lineage, p.Place.Serial, p.Place.Store = in.Place.Lineage, in.Place.Serial, in.Place.StoreID
	if in.Former == nil {
		return
	}
	p.Version = job.VersionMove
	p.Place.Move = true
	if in.Former.Type == job.OwnBackend {
		return
	}
	p.Place.From = &job.Backend{Type: in.Former.Type, Config: map[string]json.RawMessage{}}
	for name, value := range in.Former.Config {
		p.Place.From.Config[name] = value.Raw
	}
	p.Place.From.Secret = in.Former.SecretName != ""
}

// secretArguments are the Secrets with arguments of backends, by the folders that they are mounted at.
func secretArguments(in Input) []struct{ volume, secret, path string } {
	var all []struct{ volume, secret, path string }
	add := func(p *v1alpha1.StatePlace, volume, path string) {
		if p != nil && p.SecretName != "" {
			all = append(all, struct{ volume, secret, path string }{volume, p.SecretName, path})
		}
	}
	add(&in.Place, "backend", job.BackendDir)
	add(in.Former, "backend-former", job.FormerBackendDir)
	return all
}

func backendVolumes(in Input) []corev1.Volume {
	var all []corev1.Volume
	for _, s := range secretArguments(in) {
		all = append(all, corev1.Volume{Name: s.volume,
			VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: s.secret}}})
	}
	return all
}

func backendMounts(in Input) []corev1.VolumeMount {
	var all []corev1.VolumeMount
	for _, s := range secretArguments(in) {
		all = append(all, corev1.VolumeMount{Name: s.volume, MountPath: s.path, ReadOnly: true})
	}
	return all
}
