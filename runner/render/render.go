// Package render turns a Workspace's inputs into the files that Terraform runs on. It is pure: values in, bytes out.
//
//	source, variables, credential digests --Files--> Bundle{job.json, *.tf, terraform.tfvars.json, ...}
//
// What Plumbline generates is JSON made by encoding/json. User values stand in terraform.tfvars.json alone, the one
// JSON file in which Terraform evaluates nothing: in any other a "${...}" would be run.
package render

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/runner/names"
)

// Files that Plumbline writes; a Workspace can't bring its own.
const (
	// VariablesFile holds the values of the root module's variables.
	VariablesFile = "terraform.tfvars.json"
	// BackendFile is an override file, so that its backend wins over one that the configuration brings.
	BackendFile = job.BackendFile
)

// Inputs is everything that a Run's files depend on.
type Inputs struct {
	Source    v1alpha1.Source
	Variables map[string]json.RawMessage
	// Credentials in the Workspace's order. Only a digest of each is known here: the values reach the Pod by mounts.
	Credentials []Credential
	// Vault and Tokens are read in the Pod, for each Run anew; here they are only asked for.
	Vault  []job.VaultRequest
	Tokens []job.Token
	// Backend is nil for Plumbline's own state service.
	Backend *Backend
}

// Credential is one set of environment variables.
type Credential struct {
	Name   string
	Digest string
}

// Bundle is the content of the Secret that a Run mounts.
type Bundle struct {
	// Digest is equal for equal inputs, and for nothing else.
	Digest string
	// FilesDigest is that of Data: a release that renders the same inputs in another way has another one.
	FilesDigest string
	Data        map[string][]byte
}

// Files renders the inputs.
func Files(in Inputs) (Bundle, error) {
	files, err := content(in)
	if err != nil {
		return Bundle{}, err
	}
	spec := job.Spec{Version: job.Version, Backend: in.Backend.job(), Vault: in.Vault, Tokens: in.Tokens}
	if in.Source.Image != nil {
		spec.ImagePath = in.Source.Image.Path
	}
	for _, c := range in.Credentials {
		spec.Credentials = append(spec.Credentials, c.Name)
	}
	data := make(map[string][]byte, len(files)+1)
	for _, path := range slices.Sorted(maps.Keys(files)) {
		key := secretKey(path)
		data[key] = files[path]
		spec.Files = append(spec.Files, job.File{Key: key, Path: path, Executable: executable(in.Source, path)})
	}
	if data[job.SpecFile], err = json.Marshal(spec); err != nil {
		return Bundle{}, fmt.Errorf("rendering %s: %w", job.SpecFile, err)
	}
	sum, err := digest(in)
	return Bundle{Digest: sum, FilesDigest: job.DigestFiles(data), Data: data}, err
}

func executable(s v1alpha1.Source, path string) bool {
	return s.Inline != nil && slices.Contains(s.Inline.Executable, path)
}

// content is every file by its path.
func content(in Inputs) (map[string][]byte, error) {
	files := map[string][]byte{}
	if in.Source.Inline != nil {
		for path, text := range in.Source.Inline.Files {
			if path == VariablesFile || path == BackendFile {
				return nil, fmt.Errorf("spec.source.inline.files: %s is written by Plumbline: put values into spec.variables", path)
			}
			files[path] = []byte(text)
		}
	}
	variables := in.Variables
	if variables == nil {
		variables = map[string]json.RawMessage{}
	}
	var err error
	if files[VariablesFile], err = json.MarshalIndent(variables, "", "  "); err != nil {
		return nil, fmt.Errorf("rendering %s: %w", VariablesFile, err)
	}
	files[BackendFile], err = override(in.Backend)
	return files, err
}

var validKey = regexp.MustCompile(`^[-._a-zA-Z0-9]+$`)

// secretKey is the path itself where a Secret's key may be that.
func secretKey(path string) string {
	if validKey.MatchString(path) && !strings.HasPrefix(path, "..") && path != "." && path != job.SpecFile {
		return path
	}
	// Two short hashes: a Workspace has up to 256 files, and two of one key would be one file.
	return "file-" + names.Hash(path) + names.Hash("file", path)
}

// digest covers what the user gave and nothing of this release's own, so that an upgrade of Plumbline changes no digest
// and so starts no Runs. Each part says what it is and how much of it there is: no part can be taken for another.
func digest(in Inputs) (string, error) {
	h := sha256.New()
	write := func(parts ...string) {
		for _, p := range parts {
			var size [8]byte
			binary.BigEndian.PutUint64(size[:], uint64(len(p)))
			h.Write(size[:])
			h.Write([]byte(p))
		}
	}
	if in.Source.Image != nil {
		write("image", in.Source.Image.Path)
	}
	if in.Source.Inline != nil {
		write("inline", strconv.Itoa(len(in.Source.Inline.Files)))
		for _, path := range slices.Sorted(maps.Keys(in.Source.Inline.Files)) {
			write(path, in.Source.Inline.Files[path])
		}
		if x := in.Source.Inline.Executable; len(x) > 0 {
			write("executable", strconv.Itoa(len(x)))
			write(slices.Sorted(slices.Values(x))...)
		}
	}
	write("variables", strconv.Itoa(len(in.Variables)))
	for _, name := range slices.Sorted(maps.Keys(in.Variables)) {
		write(name, canonical(in.Variables[name]))
	}
	write("credentials", strconv.Itoa(len(in.Credentials)))
	for _, c := range in.Credentials {
		write(c.Name, c.Digest)
	}
	writeAsked(in, write)
	if err := digestBackend(write, in.Backend); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// canonical is a JSON value without the white space that means nothing.
func canonical(value json.RawMessage) string {
	var b bytes.Buffer
	if err := json.Compact(&b, value); err != nil {
		return string(value) // content has refused it already
	}
	return b.String()
}
