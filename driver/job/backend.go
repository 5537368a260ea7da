package job

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

const (
	// BackendFile is an override file, so that its backend wins over one that the configuration brings.
	BackendFile = "plumbline_override.tf.json"
	// BackendDir holds one file for each key of the Secret with a backend's secret arguments.
	BackendDir = "/backend"
	// FormerBackendDir is the same of the backend that a state is moved away from.
	FormerBackendDir = "/backend-former"
	// OwnBackend is the type of Plumbline's own state service, where a place that a state lies in is named.
	OwnBackend = "plumbline"
	// UnlockAnnotation on a Workspace asks for the release of the lock whose ID it names.
	UnlockAnnotation = "plumbline.dev/unlock"
)

// Backend is one of Terraform's backends, other than Plumbline's own state service.
type Backend struct {
	Type string `json:"type"`
	// Config are its arguments, as far as they aren't secret.
	Config map[string]json.RawMessage `json:"config,omitempty"`
	// Secret says that more arguments are mounted.
	Secret bool `json:"secret,omitempty"`
}

// Place is what a Run is told about where the state lies.
type Place struct {
	// Lineage is that of the state which the last Run left; empty for not known.
	Lineage string `json:"lineage,omitempty"`
	// Serial is the highest that was seen of it, and Store the ID of the store that it lies in, if that is the state
	// service's. An older release knows neither.
	Serial int64  `json:"serial,omitempty"`
	Store  string `json:"store,omitempty"`
	// Move says that the state lies in another backend than the Spec's and is to be moved: in From, or in the state
	// service if that is nil.
	Move bool     `json:"move,omitempty"`
	From *Backend `json:"from,omitempty"`
}

// Override is the content of BackendFile. Engines differ in what they make of a template in it (one takes it for text,
// another evaluates it), so arguments that look like one are left to Literal.
func (b Backend) Override() ([]byte, error) {
	literal := b.Literal()
	plain := maps.Clone(b.Config)
	maps.DeleteFunc(plain, func(name string, _ json.RawMessage) bool { return literal[name] != nil })
	if plain == nil {
		plain = map[string]json.RawMessage{}
	}
	type object = map[string]any
	content, err := json.MarshalIndent(object{"terraform": object{"backend": object{b.Type: plain}}}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("rendering %s: %w", BackendFile, err)
	}
	return content, nil
}

// Literal are the arguments with something in them that an engine might evaluate.
func (b Backend) Literal() map[string]json.RawMessage {
	found := map[string]json.RawMessage{}
	for name, value := range b.Config {
		text := string(value)
		var decoded any
		if json.Unmarshal(value, &decoded) == nil {
			text = fmt.Sprint(decoded) // what is escaped in JSON counts too
		}
		if strings.Contains(text, "${") || strings.Contains(text, "%{") {
			found[name] = value
		}
	}
	return found
}

// Digest tells one place from another: equal for equal types and arguments. Secret arguments, which may rotate, are no
// part of it.
func (b Backend) Digest() (string, error) {
	h := sha256.New()
	write := func(part string) { _, _ = fmt.Fprintf(h, "%d %s ", len(part), part) } // a hash never fails to write
	write(b.Type)
	for _, name := range slices.Sorted(maps.Keys(b.Config)) {
		value, err := canonical(b.Config[name])
		if err != nil {
			return "", fmt.Errorf("reading the backend's argument %q: %w", name, err)
		}
		write(name)
		write(value)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// canonical is a JSON value with its keys sorted and without the white space that means nothing.
func canonical(value json.RawMessage) (string, error) {
	d := json.NewDecoder(bytes.NewReader(value))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return "", err
	}
	b, err := json.Marshal(v)
	return string(b), err
}
