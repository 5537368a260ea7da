package driver

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// grantedVariables is the name of the file of variables. Beside the folder that Terraform is told of, not in it.
const grantedVariables = "credentials.tfvars.json"

func decodeParameters(v job.VaultRequest) (map[string]any, error) {
	parameters := make(map[string]any, len(v.Parameters))
	for name, raw := range v.Parameters {
		var value any
		if err := json.Unmarshal(raw, &value); err != nil {
			return nil, invalid("credential %s: parameter %s: %v", v.Name, name, err)
		}
		parameters[name] = value
	}
	return parameters, nil
}

// distribute puts the fields of an answer where they were asked for.
func (r *run) distribute(v job.VaultRequest, data map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(v.Env)) {
		value, err := r.field(v, data, naming{name, v.Env[name]})
		if err != nil {
			return err
		}
		r.access.env[name] = value
	}
	for _, name := range slices.Sorted(maps.Keys(v.Variables)) {
		value, err := r.field(v, data, naming{name, v.Variables[name]})
		if err != nil {
			return err
		}
		r.access.variables[name] = value
	}
	for _, name := range slices.Sorted(maps.Keys(v.Files)) {
		value, err := r.field(v, data, naming{name, v.Files[name]})
		if err != nil {
			return err
		}
		if err := r.grantFile(name, value); err != nil {
			return err
		}
	}
	return nil
}

// naming is a field of an answer, and what it becomes for Terraform.
type naming struct{ becomes, field string }

// field is one that was asked for, and from now on known to be secret. The others of the answer reach nobody.
func (r *run) field(v job.VaultRequest, data map[string]string, n naming) (string, error) {
	name := n.field
	if value, ok := data[name]; ok {
		r.log.secrets.learn(leaf{n.becomes + " " + name, value})
		return value, nil
	}
	there := strings.Join(slices.Sorted(maps.Keys(data)), ", ")
	if there == "" {
		return "", invalid("credential %s: the answer of %s has no field %q: it has none at all", v.Name, v.Path, name)
	}
	return "", invalid("credential %s: the answer of %s has no field %q; it has %s", v.Name, v.Path, name, there)
}

func (r *run) grantedFiles() string {
	return filepath.Join(r.Paths.Grants, filepath.Base(job.GrantedFiles))
}

func (r *run) grantFile(name, content string) error {
	dir := r.grantedFiles()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the credentials' folder: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), []byte(content), 0o600); err != nil {
		return fmt.Errorf("writing credential file %s: %w", name, err)
	}
	return nil
}

// grantFiles writes the variables. A file is the one way that shows them to nobody: not in the process list, as -var
// would, and not in the environment of every provider, as TF_VAR_ would. It is in memory, and nothing in it is
// evaluated.
func (r *run) grantFiles() error {
	if len(r.access.variables) == 0 {
		return nil
	}
	b, err := json.Marshal(r.access.variables)
	if err != nil {
		return fmt.Errorf("encoding variables: %w", err)
	}
	path := filepath.Join(r.Paths.Grants, grantedVariables)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return fmt.Errorf("writing variables: %w", err)
	}
	r.access.varFile = path
	return nil
}

// addGranted adds what came from Vault, and where tokens are. Before the step credentials the values are not known yet
// and the names are: two sources of one name are found before anything secret is asked for.
func (r *run) addGranted(given collected) error {
	for _, v := range r.spec.Vault {
		for _, name := range slices.Sorted(maps.Keys(v.Env)) {
			if err := given.add("credential "+v.Name, name, r.access.env[name]); err != nil {
				return err
			}
		}
	}
	for _, t := range r.spec.Tokens {
		if err := given.add("credential "+t.Name, t.Env, r.tokenPath(t)); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) tokenPath(t job.Token) string {
	return filepath.Join(r.Paths.Tokens, filepath.Base(t.Name), job.TokenFile)
}
