//go:build integration

package driver

import (
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// TestRealBackendOverrides: what a source says of the backend doesn't take the state away.
func TestRealBackendOverrides(t *testing.T) {
	blocks := map[string]string{
		"terraform_override.tf": `terraform {
  backend "local" {}
}`,
		"zz_override.tf":                 "terraform {\n  cloud {\n    organization = \"x\"\n  }\n}",
		"override.tf.json":               `{"terraform": {"backend": {"local": {}}}}`,
		"plumbline_override.tofu":        "terraform {\n  backend \"local\" {}\n}",
		"plumbline_override.tofu.json":   `{"terraform": {"backend": {"http": {"address": "http://127.0.0.1:1/"}}}}`,
		"plumbline_override_override.tf": "terraform {\n  backend \"http\" {\n    address = \"http://127.0.0.1:1/\"\n  }\n}",
	}
	withEngines(t, func(t *testing.T, b *bench) {
		for name, block := range blocks {
			b.file(name, block)
		}
		b.file("main.tf", `resource "terraform_data" "pump" { input = "on" }`)
		if got := b.run(t.Context()); got.Class != job.Applied || !strings.Contains(string(b.state.state), "pump") {
			t.Fatalf("%s: %s; the state is %s", got.Class, got.Message, b.state.state)
		}
		b.again()
		if got := b.run(t.Context()); got.Class != job.NoChanges {
			t.Errorf("again: %s: %s", got.Class, got.Message)
		}
	})
}
