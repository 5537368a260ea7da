package driver

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// TestOurOverrideIsTheLast: engines read override files by the order of their names, and OpenTofu none with a .tofu of
// the same stem beside it.
func TestOurOverrideIsTheLast(t *testing.T) {
	const usual = job.BackendFile
	tests := []struct {
		name   string
		source []string
		want   string
	}{
		{"none", []string{"main.tf"}, usual},
		{"one before", []string{"backend_override.tf", "override.tf"}, usual},
		{"no override", []string{"zebra.tf", "terraform_overrides.tf", "x_override.tf.bak", ".z_override.tf"}, usual},
		{"one after", []string{"terraform_override.tf"}, "terraform_override_plumbline_override.tf.json"},
		{"our own stem", []string{"plumbline_override.tofu"}, "plumbline_override_plumbline_override.tf.json"},
		{"our own stem in JSON", []string{"plumbline_override.tofu.json", "a_override.tf"},
			"plumbline_override_plumbline_override.tf.json"},
		{"several after", []string{"z_override.tf.json", "z_override.tf", "zz_override.tofu"},
			"zz_override_plumbline_override.tf.json"},
		{"beyond ASCII", []string{"~~~_override.tf", "\U0010fffd_override.tf"},
			"\U0010fffd_override_plumbline_override.tf.json"},
		{"made to come between", []string{"t_override.tf", "t_override_plumbline_override.tofu.json"},
			"t_override_plumbline_override_plumbline_override.tf.json"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := lastOverride(test.source)
			overrides := slices.DeleteFunc(test.source, func(name string) bool { return overrideStem(name) == "" })
			if got != test.want || overrideStem(got) == "" || slices.Max(append(overrides, got)) != got {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// TestAnotherBackendIsRefused: whatever has led the engine to another backend, nothing is planned in it.
func TestAnotherBackendIsRefused(t *testing.T) {
	b := newBench(t)
	b.useFake("apply")
	b.env[backendVariable] = "local"
	b.file("terraform_override.tf", `terraform { backend "local" {} }`)
	b.file("main.tf", `resource "terraform_data" "pump" {}`)
	got := b.run(t.Context())
	want := `the backend in use after init is "local", and not "http", in which this Workspace has its state: nothing ` +
		`was done. Remove the block from the source: terraform_override.tf`
	if got.Class != job.ConfigInvalid || got.Message != want {
		t.Errorf("%s: %s", got.Class, got.Message)
	}
	if _, err := os.Stat(filepath.Join(b.cfg.Paths.Work, "calls.apply")); err == nil {
		t.Error("it was applied")
	}
}

// TestAnApplyThatSavedNothingIsNoSuccess: below the check of the backend, what was made and stands in no state is said.
func TestAnApplyThatSavedNothingIsNoSuccess(t *testing.T) {
	b := newBench(t)
	b.useFake("keeps-to-itself")
	got := b.run(t.Context())
	if got.Class != job.StateUnsaved || got.Changes == nil || got.Changes.Add != 3 || b.calls("apply") != 1 {
		t.Errorf("%s: %s, changes %+v, %d applies", got.Class, got.Message, got.Changes, b.calls("apply"))
	}
}

// TestAnApplyThatReplacesAlikeMaySaveNothing: a resource that is replaced by its like leaves the state as it was.
func TestAnApplyThatReplacesAlikeMaySaveNothing(t *testing.T) {
	b := newBench(t)
	b.useFake("replaces-alike")
	if got := b.run(t.Context()); got.Class != job.Applied {
		t.Errorf("%s: %s", got.Class, got.Message)
	}
}
