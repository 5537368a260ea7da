//go:build integration

package driver

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
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

// TestRealNeighbours: a root module of an image finds what lies beside it, in each of the ways that there are.
func TestRealNeighbours(t *testing.T) {
	withEngines(t, func(t *testing.T, b *bench) {
		top := tree(t, map[string]string{
			"live/north/main.tf": `
				module "label" {
					source = "../../common"
					text   = "north"
				}
				module "linked" {
					source = "./shared"
					text   = file("../../common/word.txt")
				}
				resource "terraform_data" "a" {
					input = "${module.label.text} ${module.linked.text} ${file("shared/word.txt")}"
				}
				output "a" { value = terraform_data.a.output }`,
			"live/north/shared": "->../../common",
			"common/main.tf": `
				variable "text" { type = string }
				module "upper" {
					source = "../upper"
					text   = var.text
				}
				output "text" { value = module.upper.text }`,
			"common/word.txt": "east",
			"upper/main.tf": `
				variable "text" { type = string }
				output "text" { value = upper(var.text) }`,
			// What a desk left beside the root module.
			"live/north/.terraform/environment": "staging", "live/north/errored.tfstate": stateOf(9),
			"live/north/.terraform/terraform.tfstate": `{"version": 3, "backend": {"type": "local", "config": {}, "hash": 1}}`,
			"live/north/terraform.tfstate":            stateOf(7), "live/north/crash.log": "",
		})
		b.spec.ImagePath = filepath.Join(top, "live/north")
		for _, want := range []job.Class{job.Applied, job.NoChanges} {
			b.again()
			got := b.run(t.Context())
			if got.Class != want || got.StateSerial != 1 || string(b.state.outputs["a"].Value) != `"NORTH EAST east"` {
				t.Fatalf("%s: %s, serial %d, outputs %+v", got.Class, got.Message, got.StateSerial, b.state.outputs)
			}
		}
		for _, name := range []string{".terraform/environment", "errored.tfstate", "terraform.tfstate", "crash.log"} {
			if !strings.Contains(b.log.String(), name) {
				t.Errorf("the log doesn't say that %s was left out", name)
			}
		}
	})
}

// TestRealEngineLog: an engine's own log is in the log, without the secret that it sends about, and errors are found.
func TestRealEngineLog(t *testing.T) {
	withEngines(t, func(t *testing.T, b *bench) {
		b.file("main.tf", hello)
		b.file(variablesFile, `{"psk": "lamp-Oil-7700"}`)
		b.cfg.Params.SecretVariables = []string{"psk"}
		b.cfg.Params.Engine = job.Engine{LogLevel: "TRACE", Parallelism: 1}
		for _, step := range []job.Operation{job.Plan, job.Apply} {
			b.again()
			b.cfg.Params.Operation = step
			if got := b.run(t.Context()); !got.Class.Succeeded() {
				t.Fatalf("%s: %s", got.Class, got.Message)
			}
		}
		log := b.log.String()
		if !strings.Contains(log, "[TRACE]") || !strings.Contains(log, `"-parallelism=1"`) {
			t.Error("the engine's log is not there, or says nothing of its arguments")
		}
		if strings.Contains(log, "lamp-Oil-7700") {
			t.Error("the secret is in the log")
		}
		b.again()
		b.must(os.WriteFile(filepath.Join(b.cfg.Paths.Spec, "file-main.tf"), []byte(`output "a" { value = var.b }`), 0o600))
		if got := b.run(t.Context()); got.Class != job.ConfigInvalid {
			t.Errorf("%s: %s", got.Class, got.Message)
		}
	})
}

// TestRealMirror: what the mirror folder has is not looked for elsewhere, though other places may be asked.
func TestRealMirror(t *testing.T) {
	withEngines(t, func(t *testing.T, b *bench) {
		b.mirror()
		b.cfg.Params.PluginMirror.Direct = true
		b.cfg.Params.PluginMirror.URL = "https://127.0.0.1:1/" // nobody is there
		b.env["HTTPS_PROXY"] = "http://127.0.0.1:1"
		b.cfg.Params.PassEnv = append(b.cfg.Params.PassEnv, "HTTPS_PROXY")
		b.file("main.tf", "resource \"time_static\" \"a\" {}\n")
		if got := b.run(t.Context()); got.Class != job.Applied {
			t.Errorf("%s: %s", got.Class, got.Message)
		}
	})
}
