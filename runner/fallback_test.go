package runner

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/internal/testkit"
)

// deleted asks for the Workspace's end, as an API server does it.
func (w *world) deleted() {
	w.t.Helper()
	w.must(w.base.Delete(w.t.Context(), w.workspace()))
	w.edit(func(o *v1alpha1.Workspace) { o.Generation++ })
}

// files is the Secret that a Pod's files come from.
func files(p corev1.Pod) string { return p.Spec.Volumes[0].Secret.SecretName }

func secret(value string) *corev1.Secret { return testkit.Secret("s", map[string]string{"k": value}) }

// TestADestructionAfterABadEdit is given what was applied last, where Terraform has refused what is there now.
func TestADestructionAfterABadEdit(t *testing.T) {
	for _, test := range []struct {
		name string
		// tried: the edit was tried before the deletion, and not only by it.
		tried bool
		pods  []job.Class
	}{
		{"that was refused before", true, []job.Class{job.Applied}},
		{"that the destruction is the first to try", false, []job.Class{job.ConfigInvalid, job.Applied}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, vpn().Value("rooms", "3").Obj())
			w.settle()
			good := files(w.live()[0])
			w.drive("Ready", w.ready)
			w.edit(func(o *v1alpha1.Workspace) {
				o.Generation++
				o.Spec.Variables[0].Value.Raw = []byte("40")
				o.Spec.Suspend = !test.tried
			})
			w.settle()
			if test.tried {
				w.finish(w.live()[0], job.Result{Class: job.ConfigInvalid, Message: "nine rooms"})
				w.settle()
			}
			w.deleted()
			for _, class := range test.pods {
				w.settle()
				p := w.live()[0]
				if given := files(p); (given == good) != (class == job.Applied) {
					t.Errorf("to end as %s it is given %s; what was applied is %s", class, given, good)
				}
				w.finish(p, job.Result{Class: class, Message: "nine rooms"})
			}
			w.settle()
			if w.workspace() != nil || w.state.resources.Load() {
				t.Errorf("Runs are %v", names(w.runs()))
			}
		})
	}
}

// TestADestructionThatIsRefusedTwice is held, with Terraform's words: what was applied last is refused as well.
func TestADestructionThatIsRefusedTwice(t *testing.T) {
	w := newWorld(t, vpn().Obj())
	w.drive("Ready", w.ready)
	w.deleted()
	w.settle()
	w.finish(w.live()[0], job.Result{Class: job.ConfigInvalid, Message: "prevent_destroy is set"})
	for range 5 {
		w.settle()
		w.clock.Step(time.Hour)
	}
	c := apimeta.FindStatusCondition(w.workspace().Status.Conditions, v1alpha1.ConditionStalled)
	if c == nil || !strings.Contains(c.Message, "prevent_destroy") || len(w.runs()) != 2 {
		t.Errorf("Stalled says %+v; Runs are %v", c, names(w.runs()))
	}
}

// TestADestructionWhoseLastFilesAreGone is held, and says so: it is not tried for ever.
func TestADestructionWhoseLastFilesAreGone(t *testing.T) {
	w := newWorld(t, vpn().Value("rooms", "3").Obj())
	w.settle()
	good := files(w.live()[0])
	w.drive("Ready", w.ready)
	w.edit(func(o *v1alpha1.Workspace) {
		o.Generation++
		o.Spec.Variables[0].Value.Raw = []byte("40")
	})
	w.settle()
	w.finish(w.live()[0], job.Result{Class: job.ConfigInvalid, Message: "nine rooms"})
	w.settle()
	w.must(w.base.Delete(t.Context(), testkit.Secret(good, nil)))
	w.deleted()
	for range 5 {
		w.settle()
		w.clock.Step(time.Hour)
	}
	c := apimeta.FindStatusCondition(w.workspace().Status.Conditions, v1alpha1.ConditionStalled)
	if c == nil || !strings.Contains(c.Message, "nine rooms") || len(w.runs()) != 3 {
		t.Errorf("Stalled says %+v; Runs are %v", c, names(w.runs()))
	}
}

// TestADestructionDuringAnOutage: an input that can't be read is not one that is gone, and nothing is destroyed with
// the password of before its rotation.
func TestADestructionDuringAnOutage(t *testing.T) {
	w := newWorld(t, vpn().FromSecret("v", "s", "k").Obj(), secret("old"))
	w.settle()
	old := files(w.live()[0])
	w.drive("Ready", w.ready)
	w.edit(func(o *v1alpha1.Workspace) { o.Spec.Suspend = true })
	w.must(w.base.Update(t.Context(), secret("rotated")))
	w.deleted()
	down := true
	w.fault = func(_ *world, when, kind string) error {
		if down && when == "read" && kind == "Secret" {
			return errInjected
		}
		return nil
	}
	for range 5 {
		_ = w.pass()
	}
	if len(w.live()) != 0 {
		t.Fatal("a Pod was made of what could not be read")
	}
	down = false
	w.settle()
	if p := w.live()[0]; files(p) == old {
		t.Error("it is given the old password")
	}
}

// TestADestructionWithoutItsSecrets: a variable's is replaced by what was applied last; credentials can't be. That is
// said before any Pod waits for them, and ends when they are back, or when nothing is to be destroyed any more.
func TestADestructionWithoutItsSecrets(t *testing.T) {
	gone := func(t *testing.T, b *testkit.WorkspaceBuilder) *world {
		t.Helper()
		w := newWorld(t, b.Obj(), secret("x"))
		w.drive("Ready", w.ready)
		w.must(w.base.Delete(t.Context(), secret("")))
		w.deleted()
		w.settle()
		return w
	}
	t.Run("a variable's", func(t *testing.T) {
		w := gone(t, vpn().FromSecret("v", "s", "k"))
		w.drive("the Workspace's end", func() bool { return w.workspace() == nil })
	})
	backend := vpn().With(func(w *v1alpha1.Workspace) {
		w.Spec.Backend = &v1alpha1.Backend{Type: "s3", SecretRef: &v1alpha1.SecretRef{Name: "s"}}
	})
	for name, b := range map[string]*testkit.WorkspaceBuilder{
		"the credentials'": vpn().Credential("cloud", "s"), "the backend's": backend,
	} {
		t.Run(name, func(t *testing.T) {
			w := gone(t, b)
			w.clock.Step(time.Hour)
			w.settle()
			c := apimeta.FindStatusCondition(w.workspace().Status.Conditions, v1alpha1.ConditionReady)
			if c.Reason != v1alpha1.ReasonInputsMissing || !strings.Contains(c.Message, `Secret "s" does not exist`) ||
				!strings.Contains(c.Message, "deletionPolicy") || len(w.live()) != 0 || len(w.runs()) != 2 {
				t.Errorf("Ready says %+v; %d Pods; Runs are %v", c, len(w.live()), names(w.runs()))
			}
			w.must(w.base.Create(t.Context(), secret("x")))
			w.drive("the Workspace's end", func() bool { return w.workspace() == nil })
		})
		t.Run(name+", given up", func(t *testing.T) {
			w := gone(t, b)
			w.edit(func(o *v1alpha1.Workspace) { o.Spec.DeletionPolicy, o.Generation = v1alpha1.DeletionOrphan, 9 })
			w.drive("the Workspace's end", func() bool { return w.workspace() == nil })
			if !w.state.resources.Load() {
				t.Error("it was destroyed")
			}
		})
	}
}

// TestFilesThatCannotBeRendered are said, and no error for ever.
func TestFilesThatCannotBeRendered(t *testing.T) {
	w := newWorld(t, vpn().File("terraform.tfvars.json", "{}").Obj())
	w.settle()
	c := apimeta.FindStatusCondition(w.workspace().Status.Conditions, v1alpha1.ConditionStalled)
	if c == nil || c.Reason != string(job.ConfigInvalid) || !strings.Contains(c.Message, "terraform.tfvars.json") {
		t.Errorf("the Workspace says %+v", w.workspace().Status.Conditions)
	}
}

// TestADestructionThatMovesTheState is held where Terraform refuses its inputs: the files of the last apply lead to
// where the state lay before, so there is nothing else to be tried.
func TestADestructionThatMovesTheState(t *testing.T) {
	w := newWorld(t, vpn().Value("rooms", "3").Obj())
	w.drive("Ready", w.ready)
	w.edit(func(o *v1alpha1.Workspace) {
		o.Generation++
		o.Spec.Variables[0].Value.Raw = []byte("40")
		o.Spec.Backend = &v1alpha1.Backend{Type: "s3"}
		o.Spec.BackendChange = v1alpha1.BackendMigrate
		o.Spec.Suspend = true
	})
	w.settle()
	w.deleted()
	for range 6 {
		w.settle()
		live := w.live()
		if len(live) == 0 {
			break
		}
		w.finish(live[0], job.Result{Class: job.ConfigInvalid, Message: "nine rooms"})
	}
	w.settle()
	if got := w.tells(v1alpha1.ConditionStalled); got.Reason != string(job.ConfigInvalid) || len(w.live()) > 0 {
		t.Errorf("Stalled is %+v, %d Pods are at work; Runs are %v", got, len(w.live()), names(w.runs()))
	}
}
