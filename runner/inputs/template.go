package inputs

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
)

// CheckTemplates tells whether a Pod of the Workspace satisfies PodSecurity's restricted profile by itself, wherever it
// runs, and has no token for the Kubernetes API that nobody named. What it returns is an *InvalidError.
func CheckTemplates(w *v1alpha1.Workspace, class *v1alpha1.RunnerClass) error {
	if err := checkVolumes("spec.podTemplate.volumes", w.Spec.PodTemplate); err != nil {
		return err
	}
	return checkVolumes("spec.podTemplate.volumes of RunnerClass "+class.Name, class.Spec.PodTemplate)
}

func checkVolumes(field string, t *v1alpha1.PodTemplate) error {
	if t == nil {
		return nil
	}
	for _, v := range t.Volumes {
		if !restricted(v) {
			return invalid("%s: volume %q is of a kind that PodSecurity restricted doesn't allow: take one of configMap, "+
				"secret, emptyDir, projected, downwardAPI, image, ephemeral, persistentVolumeClaim and csi", field, v.Name)
		}
		if v.Projected != nil && slices.ContainsFunc(v.Projected.Sources, opensTheAPI) {
			return invalid("%s: volume %q has a token for the Kubernetes API: name it in spec.credentials as a "+
				"serviceAccountToken, where everybody sees it", field, v.Name)
		}
	}
	return nil
}

// restricted tells whether the profile restricted allows volumes of this kind.
func restricted(v corev1.Volume) bool {
	s := v.VolumeSource
	return s.ConfigMap != nil || s.Secret != nil || s.EmptyDir != nil || s.Projected != nil || s.DownwardAPI != nil ||
		s.Image != nil || s.Ephemeral != nil || s.PersistentVolumeClaim != nil || s.CSI != nil
}

// apiAudiences are those that API servers accept by default; no audience at all means the API server's too.
var apiAudiences = []string{"", "https://kubernetes.default.svc", "https://kubernetes.default.svc.cluster.local",
	"kubernetes.default.svc"}

func opensTheAPI(p corev1.VolumeProjection) bool {
	return p.ServiceAccountToken != nil && slices.Contains(apiAudiences, p.ServiceAccountToken.Audience)
}
