package runner

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/internal/testkit"
)

// TestAClassThatKnowsNoVault: the Workspace says what is wrong, no Run is made, and it goes on by itself once the class
// is put right.
func TestAClassThatKnowsNoVault(t *testing.T) {
	w := newWorld(t, vpn().Vault("cloud", "aws/creds/a").Obj())
	w.settle()
	c := apimeta.FindStatusCondition(w.workspace().Status.Conditions, v1alpha1.ConditionReady)
	if c == nil || c.Reason != string(job.ConfigInvalid) || !strings.Contains(c.Message, "says nothing about Vault") {
		t.Fatalf("Ready is %+v", c)
	}
	if runs := w.runs(); len(runs) > 0 {
		t.Errorf("Runs were made: %v", names(runs))
	}
	var class v1alpha1.RunnerClass
	w.must(w.base.Get(t.Context(), types.NamespacedName{Name: "default"}, &class))
	class.Spec.Vault = testkit.VaultClass("default").Spec.Vault
	w.must(w.base.Update(t.Context(), &class))
	w.drive("Ready", w.ready)
}

// TestALostPodLeavesAMark: whoever looks next knows that credentials are to be revoked, and the next Run waits for none
// of it.
func TestALostPodLeavesAMark(t *testing.T) {
	w := newWorld(t, vpn().Vault("cloud", "aws/creds/a").Obj())
	var class v1alpha1.RunnerClass
	w.must(w.base.Get(t.Context(), types.NamespacedName{Name: "default"}, &class))
	class.Spec.Vault = testkit.VaultClass("default").Spec.Vault
	w.must(w.base.Update(t.Context(), &class))
	w.settle()
	p := w.live()[0]
	p.Status.Phase = corev1.PodFailed
	w.must(w.base.Status().Update(t.Context(), &p))
	w.settle()
	lost := w.run(p.OwnerReferences[0].Name)
	if lost.Status.Revocation != v1alpha1.RevocationPending || lost.Status.FinishedAt == nil {
		t.Errorf("the Run says %+v", lost.Status)
	}
	w.drive("Ready", w.ready)
	for _, r := range w.runs() {
		if r.Name != lost.Name && r.Status.Revocation != "" {
			t.Errorf("Run %s ended well and says %s", r.Name, r.Status.Revocation)
		}
	}
}
