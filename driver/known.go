package driver

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// learnSecrets has masked what came with the Pod: the token for the state service, the credentials, the backend's
// secret arguments, and the variables whose values stand in Secrets. What can't be read here can't be read either where
// it is used, and that is where it is said.
func (r *run) learnSecrets() {
	if token, err := os.ReadFile(r.Paths.Token); err == nil {
		r.keepSecret(string(token))
	}
	for _, credential := range r.spec.Credentials {
		r.learnFolder(r.credentialFolder(credential))
	}
	r.learnFolder(r.Paths.Backend)
	r.learnFolder(r.Paths.FormerBackend)
	r.learnVariables()
}

// learnFolder has masked what a mounted Secret holds. What begins with two dots is the kubelet's.
func (r *run) learnFolder(dir string) {
	files, _ := os.ReadDir(dir)
	for _, f := range files {
		if strings.HasPrefix(f.Name(), "..") {
			continue
		}
		if value, err := os.ReadFile(filepath.Join(dir, f.Name())); err == nil {
			r.keepSecret(string(value))
		}
	}
}

func (r *run) learnVariables() {
	i := slices.IndexFunc(r.spec.Files, func(f job.File) bool { return f.Path == variablesFile })
	if i < 0 || len(r.Params.SecretVariables) == 0 {
		return
	}
	content, err := r.given.file(r.spec.Files[i])
	var values map[string]any
	if err != nil || json.Unmarshal(content, &values) != nil {
		return
	}
	for _, name := range r.Params.SecretVariables {
		r.keepSecret(leaves(values[name])...)
	}
}

// sensitive are the values of the outputs that are so.
func sensitive(outputs map[string]job.Output) []string {
	var found []string
	for _, o := range outputs {
		var value any
		if o.Sensitive && json.Unmarshal(o.Value, &value) == nil {
			found = append(found, leaves(value)...)
		}
	}
	return found
}

// leaves are the strings in a value.
func leaves(value any) []string {
	switch v := value.(type) {
	case string:
		return []string{v}
	case []any:
		var found []string
		for _, item := range v {
			found = append(found, leaves(item)...)
		}
		return found
	case map[string]any:
		return leaves(slices.Collect(maps.Values(v)))
	}
	return nil
}
