//go:build integration

package driver

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// These tests run real engines: the Terraform on the PATH if there is one, and OpenTofu as it is pinned for the runner
// image. Providers come from a mirror folder, as they do there.

const override = `{"terraform": {"backend": {"http": {}}}}`

// pinned builds a pinned tool and returns its path; it is built once for all of the repository's tests.
func pinned(t *testing.T, name string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "run", "./internal/tools/cmd/tools", "path", name)
	cmd.Dir = ".."
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("building %s: %v", name, err)
	}
	return strings.TrimSpace(string(out))
}

// withEngines runs the test with every engine.
func withEngines(t *testing.T, test func(t *testing.T, b *bench)) {
	engines := map[string]string{"tofu": pinned(t, "tofu")}
	if path, err := exec.LookPath("terraform"); err == nil {
		engines["terraform"] = path
	}
	for name, path := range engines {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.env[engineVariable] = path
			b.file("plumbline_override.tf.json", override)
			test(t, b)
		})
	}
}

const hello = `
variable "psk" {
  sensitive = true
}
resource "terraform_data" "a" {
  input = { name = "x", count = 2 }
}
output "thing" {
  value = terraform_data.a.output
}
output "psk" {
  value     = var.psk
  sensitive = true
}
`

func TestRealLifeOfAWorkspace(t *testing.T) {
	withEngines(t, func(t *testing.T, b *bench) {
		b.file("main.tf", hello)
		b.file("terraform.tfvars.json", `{"psk": "geh\"eim ${x} %{y} \nä"}`)
		steps := []struct {
			operation job.Operation
			class     job.Class
			changes   job.Changes
			serial    int64
		}{
			{job.Plan, job.Planned, job.Changes{Add: 1}, 0},
			{job.Apply, job.Applied, job.Changes{Add: 1}, 1},
			{job.Apply, job.NoChanges, job.Changes{}, 1},
			{job.Refresh, job.NoChanges, job.Changes{}, 1},
			{job.Plan, job.NoChanges, job.Changes{}, 1},
			{job.Destroy, job.Applied, job.Changes{Destroy: 1}, 2},
			{job.Destroy, job.NoChanges, job.Changes{}, 2},
		}
		for _, step := range steps {
			b.again()
			b.cfg.Params.Operation = step.operation
			got := b.run(t.Context())
			if got.Class != step.class || got.StateSerial != step.serial || *got.Changes != step.changes {
				t.Fatalf("%s: %s, serial %d, changes %+v", step.operation, got.Class, got.StateSerial, *got.Changes)
			}
			b.checkPlanOf(got)
		}
		want := map[string][]byte{"thing": []byte(`{"count":2,"name":"x"}`), "psk": []byte("geh\"eim ${x} %{y} \nä")}
		got := job.SecretData(b.state.outputs)
		var thing bytes.Buffer
		b.must(json.Compact(&thing, got["thing"]))
		got["thing"] = thing.Bytes()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("outputs (-want +got):\n%s", diff)
		}
		if b.state.lock != "" || strings.Contains(b.log.String(), "eim") {
			t.Errorf("lock %q is left, or a sensitive value is in the log", b.state.lock)
		}
	})
}

// checkPlanOf checks what is archived of a plan, and that none is of what had nothing to plan or was applied.
func (b *bench) checkPlanOf(r job.Result) {
	b.t.Helper()
	parts := b.state.parts
	b.state.parts = map[string][]byte{}
	if r.Class != job.Planned {
		if len(parts) > 0 {
			b.t.Errorf("%s: there are %d parts of a plan", r.Class, len(parts))
		}
		return
	}
	var plan struct {
		Changes []struct{ Address string } `json:"resource_changes"`
	}
	b.must(json.Unmarshal(parts[job.PartPlanJSON], &plan))
	if len(plan.Changes) != 1 || plan.Changes[0].Address != "terraform_data.a" {
		b.t.Errorf("the plan's JSON has %+v", plan)
	}
	if text := string(parts[job.PartPlanText]); !strings.Contains(text, "terraform_data.a will be created") ||
		!strings.Contains(text, "1 to add") || strings.Contains(text, "eim ") {
		b.t.Errorf("the plan's text is %s", text)
	}
	if !bytes.HasPrefix(parts[job.PartPlan], []byte("PK")) {
		b.t.Error("the plan is no plan file")
	}
}

func TestRealMistakes(t *testing.T) {
	tests := []struct{ name, main, message string }{
		{"syntax", `resource "terraform_data" "a" {`, "main.tf:1: Unclosed configuration block: There is no closing brace"},
		{"argument", "resource \"terraform_data\" \"a\" {\n  inpt = 1\n}", "main.tf:2: Unsupported argument: An argument"},
		{"type", `resource "terraform_dat" "a" {}`, "main.tf:1: Invalid resource type: The provider"},
		{"reference", `output "a" { value = var.b }`, "main.tf:1: Reference to undeclared input variable"},
		{"variable", `variable "a" {}`, "main.tf:1: No value for required variable"},
		{"provider", "terraform {\n  required_providers {\n    a = { source = \"acme/a\" }\n  }\n}",
			"Failed to query available provider packages: Could not retrieve the list of available versions"},
	}
	for name, words := range authorsWords {
		tests = append(tests, struct{ name, main, message string }{name, words[0], words[1]})
	}
	withEngines(t, func(t *testing.T, b *bench) {
		b.cfg.Params.PluginMirror.Path = t.TempDir()
		b.file("main.tf", "")
		main := filepath.Join(b.cfg.Paths.Spec, "file-main.tf")
		for _, test := range tests {
			b.again()
			b.must(os.WriteFile(main, []byte(test.main), 0o600))
			got := b.run(t.Context())
			if got.Class != job.ConfigInvalid || !strings.HasPrefix(got.Message, test.message) {
				t.Errorf("%s: %s: %s", test.name, got.Class, got.Message)
			}
		}
	})
}

// authorsWords are configurations that refuse themselves in words of clouds, or ask for what can't be, and what the
// engine says.
var authorsWords = map[string][2]string{
	"validation": {"variable \"a\" {\n  default = 1\n  validation {\n    condition = var.a > 1\n" +
		"    error_message = \"It already exists.\"\n  }\n}", "main.tf:1: Invalid value for variable: It already exists."},
	"precondition": {"resource \"terraform_data\" \"a\" {\n  lifecycle {\n    precondition {\n" +
		"      condition = terraform_data.b.input == 2\n      error_message = \"The quota is exceeded.\"\n    }\n  }\n}\n" +
		"resource \"terraform_data\" \"b\" { input = 1 }",
		"main.tf:4: Resource precondition failed: The quota is exceeded."},
	"output": {"output \"a\" {\n  value = 1\n  precondition {\n    condition = length(terraform_data.a.input) > 1\n" +
		"    error_message = \"Access denied: the token has expired.\"\n  }\n}\n" +
		"resource \"terraform_data\" \"a\" { input = \"x\" }",
		"main.tf:4: Module output value precondition failed: Access denied"},
	"moved": {"resource \"terraform_data\" \"a\" {}\n" +
		"moved {\n  from = terraform_data.a\n  to = terraform_data.b\n}", "main.tf:2: Moved"},
	"import": {"import {\n  to = terraform_data.a\n  id = \"x\"\n}", "main.tf:"},
}

// mirror is a mirror folder with the time provider in it, for both engines.
func (b *bench) mirror() {
	dir := b.t.TempDir()
	for _, host := range []string{"registry.terraform.io", "registry.opentofu.org"} {
		place := filepath.Join(dir, host, "hashicorp", "time", "0.14.2", runtime.GOOS+"_"+runtime.GOARCH)
		b.must(os.MkdirAll(place, 0o755))
		b.must(os.Symlink(pinned(b.t, "provider-time"), filepath.Join(place, "terraform-provider-time_v0.14.2")))
	}
	b.cfg.Params.PluginMirror = job.PluginMirror{Path: dir}
}

const sleeper = `
resource "terraform_data" "quick" {}
resource "time_sleep" "long" {
  create_duration = "300s"
  depends_on      = [terraform_data.quick]
}
`

// freezeProviders makes the providers hang as dead as can be.
func freezeProviders() {
	for _, p := range providers(processes(), os.Getpid()) {
		_ = syscall.Kill(p.pid, syscall.SIGSTOP)
	}
}

// TestRealStop stops a Run in the middle of an apply: what is done is in the state, and the lock is free.
func TestRealStop(t *testing.T) {
	for name, hang := range map[string]bool{"the provider ends": false, "the provider hangs": true} {
		t.Run(name, func(t *testing.T) {
			withEngines(t, func(t *testing.T, b *bench) {
				b.mirror()
				b.file("main.tf", sleeper)
				b.cfg.KillDelay = 20 * time.Second
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				b.log.on("time_sleep.long: Creating...", func() {
					if hang {
						freezeProviders()
					}
					cancel()
				})
				if hang {
					b.cfg.Params.Timeouts.Grace = time.Second
				}
				got := b.run(ctx)
				if got.Class != job.Canceled || got.StateSerial == 0 || got.Changes.Add == 0 || b.state.lock != "" {
					t.Errorf("%+v, changes %+v, lock %s", got, got.Changes, b.state.lock)
				}
				if !bytes.Contains(b.state.state, []byte(`"quick"`)) {
					t.Errorf("what was done is not in the state: %s", b.state.state)
				}
			})
		})
	}
}
