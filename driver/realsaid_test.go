//go:build integration

package driver

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/driver/job"
)

const gauged = `
resource "terraform_data" "sluice" { input = { state = "shut", height = [1, 2] } }
output "sluice" { value = terraform_data.sluice.output }
check "level" {
  data "terraform_remote_state" "gauge" {
    backend = "local"
    config  = { path = "${path.module}/gauge.json" }
  }
  assert {
    condition     = data.terraform_remote_state.gauge.outputs.level < 10
    error_message = "the water is high: access denied, it already exists"
  }
}
`

func gauge(level string) string {
	return `{"version": 4, "terraform_version": "1.6.0", "serial": 1, "lineage": "5a0c7e0e-2f57-4b0b-8a63-0d0c6f1b9e11",
		"outputs": {"level": {"value": ` + level + `, "type": "number"}}, "resources": []}`
}

// TestRealChecks: a check that reads is no difference, one that fails is told and fails nothing, and it heals; a
// variable that nobody declares is a warning, and outputs that didn't change aren't sent again.
func TestRealChecks(t *testing.T) {
	withEngines(t, func(t *testing.T, b *bench) {
		b.file("main.tf", gauged)
		b.file("gauge.json", gauge("4"))
		b.file(variablesFile, `{"depth": 3}`)
		level := filepath.Join(b.cfg.Paths.Spec, "file-gauge.json")
		high := &job.Checks{Failed: 1, Messages: []string{
			`main.tf:10: check "level": the water is high: access denied, it already exists`}}
		for _, step := range []struct {
			name, level string
			operation   job.Operation
			class       job.Class
			checks      *job.Checks
		}{
			{"first", "4", job.Apply, job.Applied, &job.Checks{}},
			{"reads", "4", job.Plan, job.NoChanges, &job.Checks{}},
			{"fails", "12", job.Plan, job.NoChanges, high},
			{"fails in an apply", "12", job.Apply, job.NoChanges, high},
			{"heals", "4", job.Plan, job.NoChanges, &job.Checks{}},
		} {
			b.again()
			b.state.asked = nil
			b.must(os.WriteFile(level, []byte(gauge(step.level)), 0o600))
			b.cfg.Params.Operation = step.operation
			got := b.run(t.Context())
			if diff := cmp.Diff(step.checks, got.Checks); got.Class != step.class || diff != "" {
				t.Fatalf("%s: %s: %s, checks (-want +got):\n%s", step.name, got.Class, got.Message, diff)
			}
			if got.Warnings == nil || !strings.HasPrefix(got.Warnings.First[0], "Value for undeclared variable: ") {
				t.Errorf("%s: warnings: %+v", step.name, got.Warnings)
			}
			if sent := slices.Contains(b.state.asked, "PUT /outputs"); sent != (step.class == job.Applied) {
				t.Errorf("%s: outputs were sent: %v", step.name, sent)
			}
		}
	})
}

const kept = `
resource "terraform_data" "a" {
  lifecycle {
    prevent_destroy = true
  }
}
`

// TestRealProtection: what prevent_destroy protects is no apply, once; what a removed block forgets is counted.
func TestRealProtection(t *testing.T) {
	withEngines(t, func(t *testing.T, b *bench) {
		b.file("main.tf", kept)
		b.run(t.Context())
		b.again()
		b.cfg.Params.Operation = job.Destroy
		got := b.run(t.Context())
		steps := []job.Step{step1("prepare"), step1("init"), {Name: "plan", Attempts: 1, Class: job.ConfigInvalid}}
		if diff := cmp.Diff(steps, got.Steps, withoutTimes); diff != "" || !strings.HasPrefix(got.Message, "main.tf:2: ") {
			t.Errorf("%s: %s, steps (-want +got):\n%s", got.Class, got.Message, diff)
		}
		b.again()
		b.cfg.Params.Operation = job.Apply
		forget := "removed {\n  from = terraform_data.a\n  lifecycle {\n    destroy = false\n  }\n}\n"
		b.must(os.WriteFile(filepath.Join(b.cfg.Paths.Spec, "file-main.tf"), []byte(forget), 0o600))
		got = b.run(t.Context())
		said := strings.HasSuffix(got.Message, "1 forgotten.")
		if got.Class != job.Applied || *got.Changes != (job.Changes{Forget: 1}) || !said {
			t.Errorf("%s: %+v: %s", got.Class, got.Changes, got.Message)
		}
	})
}
