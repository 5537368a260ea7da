package driver

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// TestVariablesOfTheWorkspaceAreGivenLast: a file that is named comes after all that Terraform loads by itself, and the
// source keeps its own files.
func TestVariablesOfTheWorkspaceAreGivenLast(t *testing.T) {
	for _, operation := range []job.Operation{job.Plan, job.Apply, job.Destroy, job.Refresh} {
		t.Run(string(operation), func(t *testing.T) {
			b := newBench(t)
			scene, command := "nochange", "apply"
			if operation == job.Plan {
				scene, command = "plan-empty", "plan"
			}
			b.useFake(scene)
			b.cfg.Params.Operation = operation
			b.file(variablesFile, `{"nodes": 7}`)
			b.file("terraform.tfvars", "nodes = 1")
			b.file("team.auto.tfvars", "nodes = 2")
			if got := b.run(t.Context()); got.Class != job.NoChanges {
				t.Fatalf("%s: %s", got.Class, got.Message)
			}
			calls, err := os.ReadFile(filepath.Join(b.cfg.Paths.Work, "calls."+command))
			b.must(err)
			if !strings.Contains(string(calls), "-var-file="+ownVariables) {
				t.Errorf("%s is not given: %s", ownVariables, calls)
			}
			got := readTree(t, b.cfg.Paths.Work)
			maps.DeleteFunc(got, func(name, _ string) bool { return !strings.Contains(name, "tfvars") })
			want := map[string]string{
				ownVariables: `{"nodes": 7}`, "terraform.tfvars": "nodes = 1", "team.auto.tfvars": "nodes = 2",
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
			if names := slices.Sorted(maps.Keys(got)); names[len(names)-1] != ownVariables {
				t.Errorf("what loads files by itself loads %s last", names[len(names)-1])
			}
		})
	}
}

// TestAModulesOwnDefaultsStay: terraform.tfvars.json of the image is not replaced by the Workspace's values.
func TestAModulesOwnDefaultsStay(t *testing.T) {
	b := newBench(t)
	b.spec.ImagePath = tree(t, map[string]string{variablesFile: `{"nodes": 2, "region": "eu"}`})
	b.file(variablesFile, `{"nodes": 7}`)
	r := &run{Config: b.cfg, spec: b.spec, given: b.given()}
	b.must(r.fillWorkDir())
	want := map[string]string{variablesFile: `{"nodes": 2, "region": "eu"}`, ownVariables: `{"nodes": 7}`}
	if diff := cmp.Diff(want, readTree(t, r.work("."))); diff != "" {
		t.Errorf("work folder (-want +got):\n%s", diff)
	}
}
