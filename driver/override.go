package driver

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/plumbline-dev/plumbline/driver/job"
)

const (
	// ownOverride ends the name of the file that decides on the backend.
	ownOverride = "plumbline_override"
	// ownSuffix is one that both engines read.
	ownSuffix = ".tf.json"
	// initialized is where init notes the backend that it has set up. Of the backend "local" without a block it notes
	// none.
	initialized = ".terraform/terraform.tfstate"
)

// configSuffixes are those of configuration, the longer of two that fit first.
var configSuffixes = []string{".tf.json", ".tofu.json", ".tf", ".tofu"}

// overrideStem is the name of an override file without its suffix; empty for any other file.
func overrideStem(name string) string {
	for _, suffix := range configSuffixes {
		stem, ok := strings.CutSuffix(name, suffix)
		if ok && !strings.HasPrefix(name, ".") && (stem == "override" || strings.HasSuffix(stem, "_override")) {
			return stem
		}
	}
	return ""
}

// lastOverride is a name for an override file that engines read after all of these, so that what it says holds. They go
// by the order of the names; and OpenTofu leaves a .tf out beside a .tofu of the same stem, which this one has to
// itself.
func lastOverride(names []string) string {
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return overrideStem(name) == "" })
	if len(names) == 0 || slices.Max(names) < ownOverride {
		return ownOverride + ownSuffix
	}
	// The longer name comes later: '_' sorts after the '.' of the suffix.
	return overrideStem(slices.Max(names)) + "_" + ownOverride + ownSuffix
}

// placeOverride has Plumbline's backend outbid each one that the source brings, under whatever name.
func (r *run) placeOverride() error {
	if err := os.Remove(r.work(job.BackendFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing %s: %w", job.BackendFile, err)
	}
	files, err := r.rootFiles()
	if err != nil {
		return err
	}
	r.override = lastOverride(files)
	return r.writeOverride(r.wanted())
}

func (r *run) writeOverride(p location) error {
	override, err := p.Override()
	if err != nil {
		return invalid("spec.backend.config: %v", err)
	}
	if err := os.WriteFile(r.work(r.override), override, 0o600); err != nil {
		return fmt.Errorf("writing %s: %w", r.override, err)
	}
	return nil
}

func (r *run) rootFiles() ([]string, error) {
	entries, err := os.ReadDir(r.work("."))
	if err != nil {
		return nil, fmt.Errorf("reading the work folder: %w", err)
	}
	files := make([]string, 0, len(entries))
	for _, e := range entries {
		files = append(files, e.Name())
	}
	return files, nil
}

// checkBackend makes sure that init has set the wanted backend up, and no other.
func (r *run) checkBackend(p location) error {
	var told struct {
		Backend struct {
			Type   string                     `json:"type"`
			Config map[string]json.RawMessage `json:"config"`
		} `json:"backend"`
	}
	b, err := os.ReadFile(r.work(initialized))
	if err == nil {
		err = json.Unmarshal(b, &told)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading which backend is in use: %w", err)
	}
	used := told.Backend.Type
	if used == "" {
		used = "local"
	}
	if used != p.Type {
		return invalid("the backend in use after init is %q, and not %q, in which this Workspace has its state: nothing was "+
			"done. Remove the block from the source%s", used, p.Type, r.outbidding())
	}
	if address := string(told.Backend.Config["address"]); p.Type == "http" && !r.foreign() && !r.ownAddress(address) {
		return invalid("the backend in use after init is http at an address of the source's: nothing was done. Remove the "+
			"block from the source%s", r.outbidding())
	}
	return nil
}

// ownAddress tells whether an address that init has noted is the proxy's. It is given by the environment, which init
// doesn't note, but where the state is moved.
func (r *run) ownAddress(noted string) bool {
	if noted == "" || noted == "null" {
		return true
	}
	var address string
	return json.Unmarshal([]byte(noted), &address) == nil && address == r.proxy.url
}

var backendBlock = regexp.MustCompile(`\b(backend|cloud|state_store)\b`)

// outbidding names the files that may have set another backend up.
func (r *run) outbidding() string {
	files, _ := r.rootFiles() // without them there is still the rest to say
	var found []string
	for _, name := range files {
		config := slices.ContainsFunc(configSuffixes, func(s string) bool { return strings.HasSuffix(name, s) })
		text, err := os.ReadFile(r.work(name))
		if config && err == nil && name != r.override && backendBlock.Match(text) {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		return ""
	}
	return ": " + strings.Join(found, ", ")
}
