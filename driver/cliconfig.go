package driver

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// writeCLIConfig writes Terraform's own configuration. It is JSON, which both engines read in a file that is named
// so.
func (r *run) writeCLIConfig() (string, error) {
	b, err := json.Marshal(cliConfig(r.Params.PluginMirror))
	if err != nil {
		return "", fmt.Errorf("writing CLI configuration: %w", err)
	}
	path := filepath.Join(r.Paths.Temp, "plumbline.tfrc.json")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return "", fmt.Errorf("writing CLI configuration: %w", err)
	}
	return path, nil
}

// cliConfig has each provider come from the first place that has it. Terraform by itself asks all of them, and takes
// the newest version that any has.
func cliConfig(m job.PluginMirror) map[string]any {
	type block map[string]any
	sources := block{}
	local := providersIn(m.Path)
	if _, err := os.Stat(m.Path); m.Path != "" && err == nil {
		// Terraform takes a mirror folder that isn't there for an error, even if the provider is elsewhere.
		sources["filesystem_mirror"] = []block{{"path": m.Path}}
	}
	if m.URL != "" {
		mirror := block{"url": m.URL}
		set(mirror, "include", m.Include)
		set(mirror, "exclude", local)
		sources["network_mirror"] = []block{mirror}
	}
	if m.Direct || len(sources) == 0 {
		direct := block{}
		set(direct, "exclude", slices.Concat(local, m.Include))
		sources["direct"] = []block{direct}
	}
	return block{"provider_installation": sources, "disable_checkpoint": true}
}

// set leaves a list out that is empty: Terraform takes an empty include for nothing at all.
func set(block map[string]any, name string, list []string) {
	if len(list) > 0 {
		block[name] = list
	}
}

// providersIn are the addresses of the providers in a mirror folder, which has them below their host and namespace.
func providersIn(dir string) []string {
	if dir == "" {
		return nil
	}
	paths, _ := filepath.Glob(filepath.Join(dir, "*", "*", "*")) // in order; the pattern is right
	var found []string
	for _, path := range paths {
		address, err := filepath.Rel(dir, path)
		if info, statErr := os.Stat(path); err == nil && statErr == nil && info.IsDir() {
			found = append(found, address)
		}
	}
	return found
}
