//go:build integration

package driver

import (
	"os/exec"
	"testing"

	"github.com/plumbline-dev/plumbline/driver/job"
)

const override = `{"terraform":{"backend":{"http":{}}}}`

func realBench(t *testing.T) *bench {
	b := newBench(t)
	path, err := exec.LookPath("terraform")
	if err != nil {
		path, err = exec.LookPath("tofu")
	}
	b.must(err)
	b.env[engineVariable] = path
	b.file("plumbline_override.tf.json", override)
	return b
}

func TestRealApply(t *testing.T) {
	b := realBench(t)
	b.file("main.tf", `
variable "psk" {
  sensitive = true
}
resource "terraform_data" "a" {
  input = "x"
}
output "id" { value = terraform_data.a.id }
output "psk" {
  value = var.psk
  sensitive = true
}
`)
	b.file("terraform.tfvars.json", `{"psk": "geh\"eim ${x} %{y} \nä"}`)
	r := b.run(t.Context())
	t.Logf("%+v %+v", r, r.Changes)
	t.Logf("%v %s", b.state.asked, b.state.outputs["psk"].Value)
	r = b.run(t.Context())
	t.Logf("%+v %+v", r, r.Changes)
	b.cfg.Params.Operation = job.Destroy
	r = b.run(t.Context())
	t.Logf("%+v %+v", r, r.Changes)
}

func TestRealBroken(t *testing.T) {
	b := realBench(t)
	b.file("main.tf", "resource \"terraform_data\" \"a\" {\n  inpt = \"x\"\n}\nresource \"terraform_dat\" \"b\" {}\n")
	r := b.run(t.Context())
	t.Logf("%+v %+v", r, r.Changes)
}
