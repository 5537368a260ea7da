//go:build e2e

package e2e

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/e2e/kit"
)

// reported are small configurations of the kinds that people's bug reports describe. Each must end as its class, at
// once, with these outputs, and have these words in its message.
var reported = []struct {
	name    string
	files   map[string]string
	with    func(*v1alpha1.Workspace)
	class   job.Class
	outputs map[string]string
	says    string
}{
	{
		name: "file-of-defaults", // what the Workspace says wins
		files: map[string]string{
			"main.tf":          "variable \"nodes\" { type = number }\noutput \"nodes\" { value = var.nodes }\n",
			"team.auto.tfvars": "nodes = 2\n",
		},
		with: value("nodes", `7`), class: job.Applied, outputs: map[string]string{"nodes": "7"},
	},
	{
		name: "null",
		files: map[string]string{
			"main.tf": "variable \"n\" { type = number }\noutput \"n\" { value = var.n == null ? \"none\" : \"some\" }\n",
		},
		with: value("n", `null`), class: job.Applied, outputs: map[string]string{"n": "none"},
	},
	{
		name: "selected-workspace", // .terraform/environment of a desk
		files: map[string]string{
			"main.tf": "output \"at\" { value = terraform.workspace }\n", ".terraform/environment": "staging",
			"errored.tfstate": `{"version":4,"serial":9,"lineage":"foreign","outputs":{},"resources":[]}`,
		},
		class: job.Applied, outputs: map[string]string{"at": "default"},
	},
	{
		name: "own-words", // an author's error_message says nothing about clouds
		files: map[string]string{"main.tf": `
variable "depot" {
  type = string
  validation {
    condition     = var.depot != "main"
    error_message = "The depot already exists: access denied, quota exceeded."
  }
}
`},
		with: value("depot", `"main"`), class: job.ConfigInvalid, says: "The depot already exists",
	},
	{
		name: "long-error",
		files: map[string]string{"main.tf": `
variable "berths" { type = number }

resource "terraform_data" "a" {
  lifecycle {
    precondition {
      condition     = var.berths > 0
      error_message = "${join("; ", [for i in range(200) : "berth ${i} is taken"])}."
    }
  }
}
`},
		with: value("berths", `0`), class: job.ConfigInvalid, says: "berth 0 is taken",
	},
	{
		name:  "debug-log",
		files: map[string]string{"main.tf": "resource \"terraform_data\" \"a\" {}\n"},
		with: func(w *v1alpha1.Workspace) {
			w.Spec.PodTemplate = &v1alpha1.PodTemplate{Env: []corev1.EnvVar{{Name: "TF_LOG", Value: "DEBUG"}}}
		},
		class: job.ConfigInvalid, says: "spec.engine.logLevel",
	},
}

func value(name, json string) func(*v1alpha1.Workspace) {
	return func(w *v1alpha1.Workspace) {
		w.Spec.Variables = []v1alpha1.Variable{{Name: name, Value: &apiextensionsv1.JSON{Raw: []byte(json)}}}
	}
}

// TestInputsOfBugReports side by side in one namespace.
func TestInputsOfBugReports(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	all := make([]*v1alpha1.Workspace, len(reported))
	for i, r := range reported {
		all[i] = s.Workspace(r.name, r.files)
		if r.with != nil {
			r.with(all[i])
		}
		s.Create(t, all[i])
	}
	for i, r := range reported {
		w := all[i]
		if r.class.Succeeded() {
			s.AwaitReady(t, w)
			awaitOutputs(t, s, r.name+"-outputs", r.outputs)
		} else {
			if said := s.AwaitReason(t, w, r.class); !strings.Contains(said, r.says) {
				t.Errorf("%s says %q, want it to name %q", r.name, said, r.says)
			}
			s.AwaitAny(t, &eventsv1.EventList{}, "there is an event about "+r.name, func(o client.Object) bool {
				e, ok := o.(*eventsv1.Event)
				return ok && e.Regarding.Name == r.name && e.Reason == string(r.class)
			})
		}
		if runs := s.Runs(t, w); len(runs) > 1 {
			t.Errorf("%s took %d Runs, want 1 at most", r.name, len(runs))
		}
	}
}

// TestOverrideOfTheBackend: a file of the source that would take the state away doesn't, and a deletion destroys.
func TestOverrideOfTheBackend(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	w := s.Workspace("app", map[string]string{
		"main.tf":               s.Provider() + kit.Thing("x", "1"),
		"terraform_override.tf": "terraform {\n  backend \"local\" {}\n}\n",
		"zz_override.tf.json":   `{"terraform": {"backend": {"local": {"path": "/tmp/elsewhere.tfstate"}}}}`,
	})
	s.Create(t, w)
	s.AwaitReady(t, w)
	s.Rerun(t, w, "1")
	s.AwaitRun(t, w, "a rerun that finds the state", func(r *v1alpha1.Run) bool {
		return r.Spec.Trigger.Kind == v1alpha1.TriggerRerun && r.Status.Class == string(job.NoChanges)
	})
	if diff := s.Things(t); len(diff) != 1 || diff["x"] != "1" {
		t.Errorf("things: %v", diff)
	}
	remove(t, s, w)
}

// TestPreventDestroy: one destruction, held and explained; the next one goes when it is lifted.
func TestPreventDestroy(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	held := strings.Replace(kit.Thing("x", "1"), "\n}", "\n  lifecycle { prevent_destroy = true }\n}", 1)
	w := s.Workspace("app", map[string]string{"main.tf": s.Provider() + held})
	s.Create(t, w)
	s.AwaitReady(t, w)
	if err := s.Delete(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	kit.Await(t, s, w, func(w *v1alpha1.Workspace) bool {
		return kit.Condition(w, v1alpha1.ConditionStalled).Status == metav1.ConditionTrue
	})
	if c := kit.Condition(w, v1alpha1.ConditionReady); c.Reason != string(job.ConfigInvalid) ||
		!strings.Contains(c.Message, "main.tf:") {
		t.Errorf("it is held as %s: %s; want the place in the configuration", c.Reason, c.Message)
	}
	destructions := 0
	for _, r := range s.Runs(t, w) {
		if r.Spec.Operation == v1alpha1.OperationDestroy {
			destructions++
		}
	}
	if destructions != 1 {
		t.Errorf("%d destructions, want one that is held", destructions)
	}
	s.Change(t, w, func() { w.Spec.Source.Inline.Files["main.tf"] = s.Provider() + kit.Thing("x", "1") })
	s.AwaitGone(t, w)
	if things := s.Things(t); len(things) > 0 {
		t.Errorf("left behind: %v", things)
	}
}
