package runner

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
)

func TestDeletionWithoutTheStateService(t *testing.T) {
	w := newWorld(t, vpn().Obj())
	w.drive("Ready", w.ready)
	w.state.err = errors.New("connection refused")
	w.must(w.base.Delete(t.Context(), w.workspace()))
	for range 3 {
		if err := w.pass(); err == nil {
			t.Error("no error is returned: nothing would try again")
		}
	}
	c := apimeta.FindStatusCondition(w.workspace().Status.Conditions, v1alpha1.ConditionReady)
	if c.Reason != string(job.StateUnavailable) || len(w.runs()) != 1 {
		t.Errorf("Ready says %s: %s; Runs %v", c.Reason, c.Message, names(w.runs()))
	}
	w.state.err = nil
	w.drive("the Workspace's end", func() bool { return w.workspace() == nil })
}

// TestArchiveGoesWithItsRun, and a state service that can't remove it holds nothing up.
func TestArchiveGoesWithItsRun(t *testing.T) {
	for name, err := range map[string]error{"removed": nil, "not removed": errors.New("connection refused")} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, vpn().History(1, 1).Obj())
			w.state.forgetErr = err
			w.drive("Ready", w.ready)
			first := w.runs()[0].Name
			w.clock.Step(time.Minute)
			w.edit(func(o *v1alpha1.Workspace) { o.Annotations = map[string]string{v1alpha1.AnnotationRerun: "1"} })
			w.drive("the first Run's end", func() bool { return !w.get(first, &v1alpha1.Run{}) })
			w.settle()
			if diff := cmp.Diff([]string{first}, w.state.forgotten); diff != "" || !w.ready() {
				t.Errorf("ready: %v; forgotten (-want +got):\n%s", w.ready(), diff)
			}
		})
	}
}

func TestOrphanKeepsWhatIsThere(t *testing.T) {
	w := newWorld(t, vpn().Orphan().Obj())
	w.drive("Ready", w.ready)
	w.must(w.base.Delete(t.Context(), w.workspace()))
	w.settle()
	if w.workspace() != nil || !w.state.resources.Load() || len(w.runs()) != 1 {
		t.Errorf("Runs %v", names(w.runs()))
	}
}
