package inputs

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/internal/testkit"
)

func TestCheckTemplates(t *testing.T) {
	token := func(audience string) corev1.VolumeSource {
		source := &corev1.ServiceAccountTokenProjection{Audience: audience, Path: "token"}
		return corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			Sources: []corev1.VolumeProjection{{ConfigMap: &corev1.ConfigMapProjection{}}, {ServiceAccountToken: source}},
		}}
	}
	for _, test := range []struct {
		name   string
		source corev1.VolumeSource
		words  string
	}{
		{"a folder of the node", corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}, "restricted"},
		{"a share", corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{}}, "restricted"},
		{"no kind", corev1.VolumeSource{}, "restricted"},
		{"a token for the API", token("https://kubernetes.default.svc"), "spec.credentials"},
		{"a token for whom it may concern", token(""), "spec.credentials"},
		{"a token for a cloud", token("sts.amazonaws.com"), ""},
		{"a claim", corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{}}, ""},
		{"a Secret", corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{}}, ""},
	} {
		template := &v1alpha1.PodTemplate{Volumes: []corev1.Volume{{Name: "extra", VolumeSource: test.source}}}
		byWorkspace := testkit.Workspace("w").With(func(w *v1alpha1.Workspace) { w.Spec.PodTemplate = template }).Obj()
		class := testkit.Class("c")
		byClass := testkit.Class("c")
		byClass.Spec.PodTemplate = template
		for field, err := range map[string]error{
			"spec.podTemplate.volumes:":                   CheckTemplates(byWorkspace, class),
			"spec.podTemplate.volumes of RunnerClass c: ": CheckTemplates(testkit.Workspace("w").Obj(), byClass),
		} {
			var invalid *InvalidError
			refused := errors.As(err, &invalid)
			if refused != (test.words != "") || refused && (!strings.Contains(err.Error(), test.words) ||
				!strings.HasPrefix(err.Error(), field) || !strings.Contains(err.Error(), `"extra"`)) {
				t.Errorf("%s in %s got %v", test.name, field, err)
			}
		}
	}
}
