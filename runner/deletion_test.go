package runner

import (
	"errors"
	"testing"

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

func TestOrphanKeepsWhatIsThere(t *testing.T) {
	w := newWorld(t, vpn().Orphan().Obj())
	w.drive("Ready", w.ready)
	w.must(w.base.Delete(t.Context(), w.workspace()))
	w.settle()
	if w.workspace() != nil || !w.state.resources.Load() || len(w.runs()) != 1 {
		t.Errorf("Runs %v", names(w.runs()))
	}
}
