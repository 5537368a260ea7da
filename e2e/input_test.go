//go:build e2e

package e2e

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/e2e/kit"
)

// TestBrokenConfiguration: it stalls with file, line and Terraform's words after one Run, and goes on when mended.
func TestBrokenConfiguration(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		hcl  string
		says []string
	}{
		"syntax": {"output \"x\" {\n  value = 1\n", []string{"main.tf:1", "Unclosed configuration block"}},
		"argument": {
			"output \"x\" {\n  value = 1\n  nothing = 2\n}\n", []string{"main.tf:3", "Unsupported argument"},
		},
		"provider": {
			"terraform {\n  required_providers {\n    no = { source = \"nobody/nothing\" }\n  }\n}\n",
			[]string{"nobody/nothing"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := suite.NewSpace(t)
			w := s.Workspace("app", map[string]string{"main.tf": c.hcl})
			s.Create(t, w)
			kit.Await(t, s, w, func(w *v1alpha1.Workspace) bool {
				return kit.Condition(w, v1alpha1.ConditionStalled).Status == metav1.ConditionTrue
			})
			stalled := kit.Condition(w, v1alpha1.ConditionStalled)
			if stalled.Reason != string(job.ConfigInvalid) {
				t.Errorf("it stalled because of %s", stalled.Reason)
			}
			for _, part := range c.says {
				if !strings.Contains(stalled.Message, part) {
					t.Errorf("the message lacks %q: %s", part, stalled.Message)
				}
			}
			s.Change(t, w, func() { w.Spec.Source.Inline.Files["main.tf"] = "output \"x\" { value = 1 }\n" })
			s.AwaitReady(t, w)
			if runs := s.Runs(t, w); len(runs) != 2 {
				t.Errorf("it took %d Runs to fail once and to succeed once", len(runs))
			}
		})
	}
}

// TestMissingInput: it waits, says for what, and goes on by itself.
func TestMissingInput(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	w := s.Workspace("app", map[string]string{"main.tf": "variable \"v\" {}\noutput \"v\" { value = var.v }\n"},
		func(w *v1alpha1.Workspace) {
			ref := &v1alpha1.KeyRef{Name: "later", Key: "password"}
			w.Spec.Variables = []v1alpha1.Variable{{Name: "v", ValueFrom: &v1alpha1.ValueFrom{SecretKeyRef: ref}}}
		})
	s.Create(t, w)
	message := s.AwaitReason(t, w, v1alpha1.ReasonInputsMissing)
	if !strings.Contains(message, `"later"`) || !strings.Contains(w.Status.WaitingFor, `"later"`) {
		t.Errorf("it doesn't say what is missing: %q, %q", message, w.Status.WaitingFor)
	}
	if runs := s.Runs(t, w); len(runs) != 0 {
		t.Errorf("%d Runs were made for nothing", len(runs))
	}
	secret := kit.Secret("later", map[string]string{"user": "me"})
	s.Create(t, secret)
	kit.Await(t, s, w, func(w *v1alpha1.Workspace) bool {
		return strings.Contains(kit.Condition(w, v1alpha1.ConditionReady).Message, `"password"`)
	})
	s.Change(t, secret, func() { secret.Data["password"] = []byte("x") })
	s.AwaitReady(t, w)
}

// TestRefused: what can be known to be wrong is refused when it is written, with the reason.
func TestRefused(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	cron := func(line string) func(*v1alpha1.Workspace) { return schedule(line, v1alpha1.DriftCorrect) }
	file := func(name string) func(*v1alpha1.Workspace) {
		return func(w *v1alpha1.Workspace) { w.Spec.Source.Inline.Files[name] = "" }
	}
	const oneSource = "set exactly one of inline, image"
	for name, c := range map[string]struct {
		edit func(*v1alpha1.Workspace)
		says string
	}{
		"two sources": {func(w *v1alpha1.Workspace) {
			w.Spec.Source.Image = &v1alpha1.ImageSource{Path: "/x"}
		}, oneSource},
		"no source":   {func(w *v1alpha1.Workspace) { w.Spec.Source = v1alpha1.Source{} }, oneSource},
		"four fields": {cron("0 0 * *"), "schedule"},
		"minute 99":   {cron("99 * * * *"), "schedule"},
		"words":       {cron("0 0 * * mañana"), "schedule"},
		"macro":       {cron("@often"), "schedule"},
		"file name":   {file("../x.tf"), "without '.' and '..'"},
		"our file":    {file("terraform.tfvars.json"), "put values into spec.variables"},
	} {
		t.Run(name, func(t *testing.T) {
			w := s.Workspace("app", map[string]string{"main.tf": ""}, c.edit)
			err := s.WithWatch.Create(t.Context(), w)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}

// TestBadTimeZoneSaysSo: what the definition's rules can't know is refused by the controller, with the reason.
func TestBadTimeZoneSaysSo(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	w := s.Workspace("app", map[string]string{"main.tf": ""}, schedule("@daily", v1alpha1.DriftCorrect),
		func(w *v1alpha1.Workspace) { w.Spec.Drift.TimeZone = "Mars/Olympus_Mons" })
	s.Create(t, w)
	if message := s.AwaitReason(t, w, job.ConfigInvalid); !strings.Contains(message, "Mars/Olympus_Mons") {
		t.Errorf("it doesn't say what is wrong: %s", message)
	}
}

// odd are strings that something on the way might evaluate, escape or cut.
var odd = map[string]string{
	"quotes":        `"double" 'single' \back\slash`,
	"interpolation": "${path.module} $${x} %{ if true }yes%{ endif } %%{",
	"lines":         "one\ntwo\r\n\tthree\n",
	"unicode":       "ñandú 🧉 \u200b日本語 \U0001d54f",
	"shell":         "$(id) `id` ; rm -rf / && echo | tee",
	"json":          `{"a": ["\u0000", null]}`,
	"heredoc":       "<<EOT\nx\nEOT\n",
	"empty":         "",
}

// TestOddValues: they arrive unchanged, and nothing is evaluated.
func TestOddValues(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	hcl := `variable "odd" { type = map(string) }
variable "quotes" { type = string }
output "odd" { value = var.odd }
output "quotes" { value = var.quotes }
output "file" { value = file("${path.module}/deep/er/odd.txt") }
`
	secret := kit.Secret("odd", map[string]string{"a": odd["interpolation"]})
	s.Create(t, secret)
	w := s.Workspace("app", map[string]string{"main.tf": hcl, "deep/er/odd.txt": odd["interpolation"]},
		variables(t, "odd", odd), func(w *v1alpha1.Workspace) {
			ref := &v1alpha1.KeyRef{Name: "odd", Key: "a"}
			w.Spec.Variables = append(w.Spec.Variables,
				v1alpha1.Variable{Name: "quotes", ValueFrom: &v1alpha1.ValueFrom{SecretKeyRef: ref}})
		})
	s.Create(t, w)
	s.AwaitReady(t, w)
	// Terraform's JSON escapes <, > and &; what it means must be the same.
	outputs := outputsOf(t, s, "app-outputs")
	var got map[string]string
	if err := json.Unmarshal(outputs["odd"], &got); err != nil {
		t.Fatal(err)
	}
	for name, want := range odd {
		if got[name] != want {
			t.Errorf("%s: got %q, want %q", name, got[name], want)
		}
	}
	for _, name := range []string{"quotes", "file"} {
		if got := string(outputs[name]); got != odd["interpolation"] {
			t.Errorf("%s: got %q, want %q", name, got, odd["interpolation"])
		}
	}
}

func TestLongName(t *testing.T) {
	t.Parallel()
	for _, length := range []int{63, 200} {
		t.Run(strconv.Itoa(length), func(t *testing.T) {
			t.Parallel()
			s := suite.NewSpace(t)
			stem := strings.Repeat("n", length-1)
			w := s.Workspace(stem+"1", map[string]string{"main.tf": s.Provider() + kit.Thing("x", "1")})
			s.Create(t, w)
			s.AwaitReady(t, w)
			// A name that begins alike must not be taken for the first.
			other := s.Workspace(stem+"2", map[string]string{"main.tf": s.Provider() + kit.Thing("y", "1")})
			s.Create(t, other)
			s.AwaitReady(t, other)
			awaitOutputs(t, s, w.Name+"-outputs", map[string]string{"x": "1"})
			if err := s.Delete(t.Context(), other); err != nil {
				t.Fatal(err)
			}
			s.AwaitGone(t, other)
			if things := s.Things(t); things["x"] != "1" || len(things) != 1 {
				t.Errorf("after the other Workspace's end there is %v", things)
			}
			remove(t, s, w)
		})
	}
}
