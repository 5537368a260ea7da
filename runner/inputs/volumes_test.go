package inputs

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/internal/testkit"
)

// TestWhatAVolumeMountsIsThere: what is missing is said before there is a Pod that waits for it.
func TestWhatAVolumeMountsIsThere(t *testing.T) {
	optional := new(true)
	secret := func(name string, optional *bool) corev1.VolumeSource {
		return corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: name, Optional: optional}}
	}
	projected := func(name string) corev1.VolumeSource {
		source := &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: name}}
		return corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			Sources: []corev1.VolumeProjection{{ConfigMap: source}},
		}}
	}
	there := metav1.ObjectMeta{Namespace: testkit.Namespace, Name: "there"}
	live := fake.NewClientBuilder().
		WithObjects(&corev1.Secret{ObjectMeta: there}, &corev1.ConfigMap{ObjectMeta: there}).Build()
	for name, test := range map[string]struct {
		source corev1.VolumeSource
		says   string
	}{
		"a Secret":                {secret("there", nil), ""},
		"no Secret":               {secret("none", nil), `Secret "none" does not exist`},
		"no Secret, and optional": {secret("none", optional), ""},
		"a ConfigMap, projected":  {projected("there"), ""},
		"no ConfigMap, projected": {projected("none"), `ConfigMap "none" does not exist`},
		"no object of its own":    {corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			template := &v1alpha1.PodTemplate{Volumes: []corev1.Volume{{Name: "extra", VolumeSource: test.source}}}
			byWorkspace := testkit.Workspace("w").With(func(w *v1alpha1.Workspace) { w.Spec.PodTemplate = template }).Obj()
			byClass := testkit.Class("c")
			byClass.Spec.PodTemplate = template
			bare, silent := testkit.Workspace("w").Obj(), testkit.Class("c")
			for field, err := range map[string]error{
				`volume "extra" of spec.podTemplate)`:                  Volumes(t.Context(), live, byWorkspace, silent),
				`volume "extra" of spec.podTemplate of RunnerClass c)`: Volumes(t.Context(), live, bare, byClass),
			} {
				var missing *MissingError
				if is := errors.As(err, &missing); is != (test.says != "") || !is && err != nil {
					t.Errorf("got %v, want %q", err, test.says)
				} else if is && (!strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), field)) {
					t.Errorf("got %v, want %q and %s", err, test.says, field)
				}
			}
		})
	}
}
