package driver

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// These scenes are about what becomes of the state.
func init() {
	maps.Copy(scenes, map[string]func(c call) int{
		"keeps-to-itself": keepsToItself,
		"replaces-alike":  replacesAlike,
	})
}

// noteBackend leaves the note of which backend is in use, as init does: that of the override file that comes last.
func noteBackend() {
	backend := os.Getenv(backendVariable)
	files, _ := filepath.Glob("*_override.tf.json")
	if len(files) > 0 && backend == "" {
		var override struct {
			Terraform struct{ Backend map[string]json.RawMessage }
		}
		b, _ := os.ReadFile(slices.Max(files))
		_ = json.Unmarshal(b, &override)
		for backend = range override.Terraform.Backend {
		}
	}
	_ = os.MkdirAll(".terraform", 0o700)
	_ = os.WriteFile(initialized, fmt.Appendf(nil, `{"backend": {"type": %q}}`, backend), 0o600)
}

// keepsToItself has its state somewhere else.
func keepsToItself(c call) int {
	c.say("apply")
	return 0
}

// replacesAlike makes what it has destroyed again, as it was.
func replacesAlike(c call) int {
	c.state("GET", "")
	for _, line := range []string{
		`{"type": "change_summary", "changes": {"add": 1, "remove": 1, "operation": "plan"}, "@message": "Plan"}`,
		`{"type": "apply_complete", "hook": {"resource": {"addr": "a.b"}, "action": "delete"}}`,
		`{"type": "apply_complete", "hook": {"resource": {"addr": "a.b"}, "action": "create"}}`,
		`{"type": "change_summary", "changes": {"add": 1, "remove": 1, "operation": "apply"}, "@message": "Applied"}`,
	} {
		fmt.Println(line)
	}
	return 0
}
