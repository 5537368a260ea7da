package inputs

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/runner/pod"
)

// Trust looks whether the bundles that the Workspace and its RunnerClass trust are there and can be read, before a Pod
// waits for them. It returns a *MissingError if not; any other error is a failed read. Their content is no input: a
// bundle that is rotated makes no Run by itself.
func Trust(ctx context.Context, live client.Reader, w *v1alpha1.Workspace, c *v1alpha1.RunnerClass) error {
	r := resolver{live: live, workspace: w}
	for _, t := range pod.Trust(w, c) {
		bundle, err := r.bundle(ctx, t)
		if err != nil {
			return err
		}
		if err := job.CheckBundle([]byte(bundle)); err != nil {
			return missing("%s: trusted CAs: %v", pod.TrustName(t), err)
		}
	}
	return nil
}

func (r resolver) bundle(ctx context.Context, t v1alpha1.TrustBundle) (string, error) {
	if t.ConfigMapName != "" {
		return r.configMapKey(ctx, &v1alpha1.KeyRef{Name: t.ConfigMapName, Key: t.Key}, "trust")
	}
	data, err := r.secret(ctx, t.SecretName, "trust")
	if err != nil {
		return "", err
	}
	value, ok := data[t.Key]
	if !ok {
		return "", missing("Secret %q has no key %q (trust)", t.SecretName, t.Key)
	}
	return string(value), nil
}

// TrustReferences are the objects that the bundles lie in, as References has them.
func TrustReferences(bundles []v1alpha1.TrustBundle) []string {
	var refs []string
	for _, t := range bundles {
		if t.ConfigMapName != "" {
			refs = append(refs, ConfigMapReference(t.ConfigMapName))
		} else {
			refs = append(refs, SecretReference(t.SecretName))
		}
	}
	return refs
}
