package inputs

import (
	"context"
	"encoding/json"
	"fmt"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/runner/render"
)

// backend is spec.backend with a digest of what its Secret holds; nil for Plumbline's own state service.
func (r resolver) backend(ctx context.Context) (*render.Backend, error) {
	spec := r.workspace.Spec.Backend
	if spec == nil {
		return nil, nil //nolint:nilnil // none is the usual case, and no error
	}
	b := &render.Backend{Type: spec.Type, Config: BackendConfig(spec.Config)}
	if spec.SecretRef == nil {
		return b, nil
	}
	data, err := r.secret(ctx, spec.SecretRef.Name, "spec.backend")
	if err != nil {
		return nil, err
	}
	b.SecretName, b.SecretDigest = spec.SecretRef.Name, digest(data)
	return b, nil
}

// BackendConfig are a backend's arguments as JSON.
func BackendConfig(config map[string]apiextensionsv1.JSON) map[string]json.RawMessage {
	values := make(map[string]json.RawMessage, len(config))
	for name, value := range config {
		values[name] = value.Raw
	}
	return values
}

// Place is where a Workspace's spec wants the state to lie.
func Place(w *v1alpha1.Workspace) (v1alpha1.StatePlace, error) {
	spec := w.Spec.Backend
	if spec == nil {
		return OwnPlace(), nil
	}
	sum, err := job.Backend{Type: spec.Type, Config: BackendConfig(spec.Config)}.Digest()
	if err != nil {
		return v1alpha1.StatePlace{}, fmt.Errorf("spec.backend: %w", err)
	}
	p := v1alpha1.StatePlace{Type: spec.Type, Config: spec.Config, Digest: sum}
	if spec.SecretRef != nil {
		p.SecretName = spec.SecretRef.Name
	}
	return p, nil
}

// OwnPlace is Plumbline's own state service.
func OwnPlace() v1alpha1.StatePlace {
	return v1alpha1.StatePlace{Type: job.OwnBackend, Digest: job.OwnBackend}
}

// CheckPlace returns a *MissingError when the Secret of a place that a state is to be moved away from is gone.
func CheckPlace(ctx context.Context, live client.Reader, w *v1alpha1.Workspace, p v1alpha1.StatePlace) error {
	if p.SecretName == "" {
		return nil
	}
	r := resolver{live: live, workspace: w}
	_, err := r.secret(ctx, p.SecretName, "the backend that the state is moved away from, in status.backend")
	return err
}

func backendReferences(w *v1alpha1.Workspace) []string {
	var refs []string
	if b := w.Spec.Backend; b != nil && b.SecretRef != nil {
		refs = append(refs, SecretReference(b.SecretRef.Name))
	}
	if p := w.Status.Backend; p != nil && p.SecretName != "" {
		refs = append(refs, SecretReference(p.SecretName))
	}
	return refs
}
