package inputs

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
)

// Volumes returns a *MissingError when a Secret or ConfigMap is missing that the Pod templates of the Workspace or its
// class mount: the kubelet would wait for it without a word until the Pod's deadline. Optional ones may be missing.
func Volumes(ctx context.Context, live client.Reader, w *v1alpha1.Workspace, class *v1alpha1.RunnerClass) error {
	r := resolver{live: live, workspace: w}
	for _, t := range []struct {
		field    string
		template *v1alpha1.PodTemplate
	}{
		{"spec.podTemplate", w.Spec.PodTemplate},
		{"spec.podTemplate of RunnerClass " + class.Name, class.Spec.PodTemplate},
	} {
		if t.template == nil {
			continue
		}
		for _, v := range t.template.Volumes {
			for _, m := range mountedBy(v) {
				if err := r.exists(ctx, m, fmt.Sprintf("volume %q of %s", v.Name, t.field)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// mounted is an object that a volume needs.
type mounted struct{ kind, name string }

// mountedBy are the Secrets and ConfigMaps that a volume can't do without.
func mountedBy(v corev1.Volume) (all []mounted) {
	add := func(kind, name string, optional *bool) {
		if optional == nil || !*optional {
			all = append(all, mounted{kind, name})
		}
	}
	if s := v.Secret; s != nil {
		add("Secret", s.SecretName, s.Optional)
	}
	if c := v.ConfigMap; c != nil {
		add("ConfigMap", c.Name, c.Optional)
	}
	if v.Projected == nil {
		return all
	}
	for _, p := range v.Projected.Sources {
		if p.Secret != nil {
			add("Secret", p.Secret.Name, p.Secret.Optional)
		}
		if p.ConfigMap != nil {
			add("ConfigMap", p.ConfigMap.Name, p.ConfigMap.Optional)
		}
	}
	return all
}

func (r resolver) exists(ctx context.Context, m mounted, wantedBy string) error {
	object := metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(m.kind))
	err := r.live.Get(ctx, types.NamespacedName{Namespace: r.workspace.Namespace, Name: m.name}, &object)
	if apierrors.IsNotFound(err) {
		return missing("%s %q does not exist (%s)", m.kind, m.name, wantedBy)
	}
	if err != nil {
		return fmt.Errorf("reading %s %q: %w", m.kind, m.name, err)
	}
	return nil
}
