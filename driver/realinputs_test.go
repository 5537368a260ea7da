//go:build integration

package driver

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/driver/job"
)

const sized = `
variable "nodes" { type = number }
variable "region" { type = string }
resource "terraform_data" "a" {
  input = "${var.nodes} ${var.region}"
}
output "a" { value = terraform_data.a.output }
`

// TestRealVariables: what the Workspace says wins over each file of the source, in every operation; what it doesn't say
// the source's files do.
func TestRealVariables(t *testing.T) {
	withEngines(t, func(t *testing.T, b *bench) {
		b.spec.ImagePath = tree(t, map[string]string{
			"main.tf": sized, "terraform.tfvars": "nodes = 1", "terraform.tfvars.json": `{"nodes": 2, "region": "eu"}`,
			"team.auto.tfvars": "nodes = 3", "zz.auto.tfvars.json": `{"nodes": 4}`, "\u00ff.auto.tfvars": "nodes = 5",
		})
		b.file(variablesFile, `{"nodes": 7}`)
		for _, step := range []struct {
			operation job.Operation
			class     job.Class
		}{
			{job.Plan, job.Planned}, {job.Apply, job.Applied}, {job.Plan, job.NoChanges}, {job.Refresh, job.NoChanges},
			{job.Apply, job.NoChanges}, {job.Destroy, job.Applied},
		} {
			b.again()
			b.cfg.Params.Operation = step.operation
			if got := b.run(t.Context()); got.Class != step.class {
				t.Fatalf("%s: %s: %s", step.operation, got.Class, got.Message)
			}
			if step.class != job.Applied || step.operation != job.Apply {
				continue
			}
			want := map[string]job.Output{
				"a": {Type: json.RawMessage(`"string"`), Value: json.RawMessage(`"7 eu"`)},
			}
			if diff := cmp.Diff(want, b.state.outputs); diff != "" {
				t.Errorf("outputs (-want +got):\n%s", diff)
			}
		}
	})
}
