package driver

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-exec/tfexec"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// podEnv is the source of the variables that the Pod template names.
const podEnv = "the Pod template's env"

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// ownEnv are the prefixes of what Plumbline itself sets: overriding it would lead Terraform to another state.
var ownEnv = []string{"TF_HTTP_", "TF_CLI_CONFIG_FILE", "TERRAFORM_CONFIG", "TF_DATA_DIR", job.CredentialsEnv}

// terraformEnv is the whole environment of Terraform: a fixed base, the variables that the Pod template names, and the
// credentials. Nothing else of the driver's own environment gets there.
func (r *run) terraformEnv() (map[string]string, error) {
	env := map[string]string{
		"PATH":               "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME":               r.Paths.Temp,
		"TMPDIR":             r.Paths.Temp,
		"CHECKPOINT_DISABLE": "1", // no call home for newer versions
	}
	if limit := r.memory.goLimit(); limit != "" {
		env["GOMEMLIMIT"] = limit
	}
	given := collected{values: map[string]string{}, from: map[string]string{}}
	for _, name := range r.Params.PassEnv {
		if value, ok := r.LookupEnv(name); ok {
			if err := given.add(podEnv, name, value); err != nil {
				return nil, err
			}
		}
	}
	for _, credential := range r.spec.Credentials {
		if err := given.addFolder(credential, r.credentialFolder(credential)); err != nil {
			return nil, err
		}
	}
	trust, err := r.trustEnv()
	if err != nil {
		return nil, err
	}
	maps.Copy(env, trust)
	if err := r.addGranted(given); err != nil {
		return nil, err
	}
	maps.Copy(env, given.values)
	maps.Copy(env, r.backendEnv())
	if slices.ContainsFunc(r.spec.Vault, func(v job.VaultRequest) bool { return len(v.Files) > 0 }) {
		env[job.CredentialsEnv] = r.grantedFiles()
	}
	return env, nil
}

// collected are variables and where each came from.
type collected struct{ values, from map[string]string }

func (c collected) add(source, name, value string) error {
	switch other, taken := c.from[name]; {
	case !envName.MatchString(name):
		return invalid("%s: %q can't be an environment variable's name", source, name)
	case taken:
		return invalid("environment variable %s comes from both %s and %s", name, other, source)
	case slices.ContainsFunc(ownEnv, func(p string) bool { return strings.HasPrefix(name, p) }):
		return invalid("%s: environment variable %s is Plumbline's own", source, name)
	case strings.HasPrefix(name, "TF_VAR_"):
		return invalid("%s: environment variable %s: give variables in spec.variables", source, name)
	case strings.HasPrefix(name, "TF_LOG"):
		return invalid("%s: environment variable %s: set spec.engine.logLevel, for a log that is masked", source, name)
	case strings.HasPrefix(name, "TF_CLI_ARGS"):
		return invalid("%s: environment variable %s would change how Terraform is driven: what can be set is in "+
			"spec.engine, such as parallelism", source, name)
	case len(tfexec.ProhibitedEnv(map[string]string{name: ""})) > 0:
		return invalid("%s: environment variable %s would change how Terraform is driven", source, name)
	case strings.ContainsRune(value, 0):
		return invalid("%s: the value of %s has a zero byte in it", source, name)
	}
	c.values[name], c.from[name] = value, source
	return nil
}

// addFolder adds the files of a mounted Secret that can be variables.
func (c collected) addFolder(credential, dir string) error {
	names, _, err := mountedKeys(dir)
	if err != nil {
		return fmt.Errorf("reading credential %s: %w", credential, err)
	}
	for _, name := range names {
		value, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return fmt.Errorf("reading credential %s: %w", credential, err)
		}
		if err := c.add("credential "+credential, name, string(value)); err != nil {
			return err
		}
	}
	return nil
}

// mountedKeys are the keys of a mounted Secret that can be environment variables, and those that can't. What begins
// with two dots is the kubelet's.
func mountedKeys(dir string) (names, odd []string, err error) {
	files, err := os.ReadDir(dir)
	for _, f := range files {
		switch name := f.Name(); {
		case strings.HasPrefix(name, ".."):
		case envName.MatchString(name):
			names = append(names, name)
		default:
			odd = append(odd, name)
		}
	}
	return names, odd, err
}

// tellOddKeys names what of the credentials' Secrets Terraform doesn't get.
func (r *run) tellOddKeys() {
	for _, credential := range r.spec.Credentials {
		_, odd, _ := mountedKeys(r.credentialFolder(credential)) // who needs the folder says that it can't be read
		if len(odd) > 0 {
			r.log.printf("Credential %s: left out, for they can't be names of environment variables: %s. "+
				"To choose from the Secret, set secretRef.keys: {VARIABLE: key}", credential, strings.Join(odd, ", "))
		}
	}
}

func (r *run) credentialFolder(credential string) string {
	return filepath.Join(r.Paths.Credentials, filepath.Base(credential))
}
