package runner

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/internal/testkit"
)

// TestDestroyedByHandHasNoOutputs: those of before are gone, and come back with what they are of.
func TestDestroyedByHandHasNoOutputs(t *testing.T) {
	w := newWorld(t, vpn().Obj())
	w.drive("Ready", w.ready)
	w.clock.Step(time.Minute)
	w.must(w.base.Create(t.Context(),
		testkit.Run("vpn", "by-hand").Manual().Created(w.clock.Now()).Operation(v1alpha1.OperationDestroy).Obj()))
	w.drive("the destruction", func() bool { return w.says(v1alpha1.ConditionReady).Reason == v1alpha1.ReasonDestroyed })
	c := w.says(v1alpha1.ConditionReady)
	if c.Status != metav1.ConditionFalse || !strings.Contains(c.Message, "by-hand") {
		t.Errorf("Ready is %s: %s", c.Status, c.Message)
	}
	if w.get("vpn-outputs", &corev1.Secret{}) || w.workspace().Status.OutputsSecretName != "" {
		t.Error("the outputs of what is gone are still there")
	}
	w.edit(func(o *v1alpha1.Workspace) { o.Annotations = map[string]string{v1alpha1.AnnotationRerun: "1"} })
	w.drive("Ready", w.ready)
	if !w.get("vpn-outputs", &corev1.Secret{}) || w.workspace().Status.OutputsSecretName != "vpn-outputs" {
		t.Error("the outputs have not come back")
	}
}
