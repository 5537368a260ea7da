//go:build integration

package driver

import (
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/driver/credentials"
	"github.com/plumbline-dev/plumbline/driver/job"
)

const granted = `
variable "password" {
  sensitive = true
}
resource "terraform_data" "a" {
  input = sha256(var.password)
}
output "digest" {
  value = nonsensitive(sha256(var.password))
}
`

// TestVariablesFromVaultReachRealEngines: every operation takes the file, and nothing in a value is evaluated.
func TestVariablesFromVaultReachRealEngines(t *testing.T) {
	withEngines(t, func(t *testing.T, b *bench) {
		b.file("main.tf", granted)
		v := b.useVault(job.VaultRequest{
			Name: "db", Path: "database/creds/app", Variables: map[string]string{"password": "password"},
		})
		const password = "${upper(\"geheim\")} %{ if true }\n"
		v.answers["database/creds/app"] = credentials.Answer{Data: map[string]string{"password": password}}
		for _, step := range []struct {
			operation job.Operation
			class     job.Class
		}{
			{job.Plan, job.Planned}, {job.Apply, job.Applied}, {job.Apply, job.NoChanges}, {job.Refresh, job.NoChanges},
			{job.Destroy, job.Applied},
		} {
			b.again()
			b.cfg.Params.Operation = step.operation
			if got := b.run(t.Context()); got.Class != step.class {
				t.Fatalf("%s: %s: %s", step.operation, got.Class, got.Message)
			}
			if step.operation == job.Apply {
				// printf '${upper("geheim")} %%{ if true }\n' | sha256sum
				const want = "7921cbd55e99e16187f64a5e4658880e96dfce02876c6a1a13911a645cc56d3f"
				if got := string(job.SecretData(b.state.outputs)["digest"]); got != want {
					t.Errorf("the digest of what arrived is %s", got)
				}
			}
		}
		if text := string(b.state.parts[job.PartPlanText]); text == "" || strings.Contains(text, "upper") {
			t.Errorf("the plan's text is %q", text)
		}
	})
}
