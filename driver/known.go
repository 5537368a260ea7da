package driver

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// learnSecrets has masked what came with the Pod: the token for the state service, the credentials, the backend's
// secret arguments, and the variables, of the environment too, whose values stand in Secrets. What can't be read here
// can't be read either where it is used, and that is where it is said.
func (r *run) learnSecrets() {
	if token, err := os.ReadFile(r.Paths.Token); err == nil {
		r.keepSecret(string(token))
	}
	for _, credential := range r.spec.Credentials {
		r.learnFolder(r.credentialFolder(credential))
	}
	r.learnFolder(r.Paths.Backend)
	r.learnFolder(r.Paths.FormerBackend)
	for _, name := range r.Params.SecretEnv {
		if value, ok := r.LookupEnv(name); ok {
			r.log.secrets.learn(leaf{name, value})
		}
	}
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
			r.log.secrets.learn(leaf{f.Name(), string(value)})
		}
	}
}

func (r *run) learnVariables() {
	i := slices.IndexFunc(r.spec.Files, func(f job.File) bool { return f.Path == variablesFile })
	if i < 0 || len(r.Params.SecretVariables) == 0 {
		return
	}
	content, err := r.given.file(r.spec.Files[i])
	if err != nil {
		return
	}
	document, _ := decode(content) // Terraform says what is wrong with it
	values, _ := document.(map[string]any)
	for _, name := range r.Params.SecretVariables {
		r.log.secrets.learn(leaves(name, values[name])...)
	}
}

// leaf is a value that holds no others, and the name that it stands under.
type leaf struct{ name, value string }

// sensitive are the values of the outputs that are so.
func sensitive(outputs map[string]job.Output) []leaf {
	var found []leaf
	for name, o := range outputs {
		if !o.Sensitive {
			continue
		}
		if value, ok := decode(o.Value); ok {
			found = append(found, leaves(name, value)...)
		}
	}
	return found
}

var digit = regexp.MustCompile(`[0-9]`)

// minDigits is how long a number is that may be a secret: others are counts, ports and sizes.
const minDigits = 8

// leaves are the strings in a value, and the long numbers. Those in a list have the list's name.
func leaves(name string, value any) []leaf {
	var found []leaf
	switch v := value.(type) {
	case string:
		return []leaf{{name, v}}
	case json.Number:
		if len(digit.FindAllString(v.String(), -1)) >= minDigits {
			return []leaf{{name, v.String()}}
		}
	case []any:
		for _, item := range v {
			found = append(found, leaves(name, item)...)
		}
	case map[string]any:
		for field, inner := range v {
			found = append(found, leaves(field, inner)...)
		}
	}
	return found
}

// decode reads JSON without changing its numbers.
func decode(content []byte) (value any, ok bool) {
	d := json.NewDecoder(bytes.NewReader(content))
	d.UseNumber()
	err := d.Decode(&value)
	return value, err == nil
}
