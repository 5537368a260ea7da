package render

import (
	"encoding/json"
	"fmt"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// Backend is where the state lies, if that isn't Plumbline's own state service. Of the secret arguments only a digest
// is known here: the values reach the Pod by a mount.
type Backend struct {
	Type         string
	Config       map[string]json.RawMessage
	SecretName   string
	SecretDigest string
}

// job is the backend as the driver is told of it; nil for the state service.
func (b *Backend) job() *job.Backend {
	if b == nil {
		return nil
	}
	return &job.Backend{Type: b.Type, Config: b.Config, Secret: b.SecretName != ""}
}

// override is the file that decides on the backend. For the state service it is Terraform's http backend with nothing
// in it: the driver gives the address by environment variables, for it changes with every Pod.
func override(b *Backend) ([]byte, error) {
	if b == nil {
		b = &Backend{Type: "http"}
	}
	return b.job().Override()
}

// digestBackend writes what the user gave. A Workspace without a backend has the digest that it had before there were
// any.
func digestBackend(write func(...string), b *Backend) error {
	if b == nil {
		return nil
	}
	place, err := b.job().Digest()
	if err != nil {
		return fmt.Errorf("spec.backend: %w", err)
	}
	write("backend", place, b.SecretName, b.SecretDigest)
	return nil
}
