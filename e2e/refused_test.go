//go:build e2e

package e2e

import (
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/e2e/kit"
	"github.com/plumbline-dev/plumbline/runner/run"
)

var door = map[string]string{"main.tf": "output \"door\" { value = \"narrow\" }\n"}

// TestQuotas: what a quota refuses is said in its words on Run and Workspace, and goes on when the quota is raised, as
// the same Run.
func TestQuotas(t *testing.T) {
	t.Parallel()
	for _, name := range []corev1.ResourceName{"count/secrets", corev1.ResourcePods} {
		t.Run(string(name), func(t *testing.T) {
			t.Parallel()
			s := suite.NewSpace(t)
			quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "few"}}
			quota.Spec.Hard = corev1.ResourceList{name: resource.MustParse("0")}
			s.Create(t, quota)
			w := s.Workspace("tight", door)
			s.Create(t, w)
			awaitWaiting(t, s, w, "exceeded quota: few")
			if c := s.Runs(t, w)[0].Status.Conditions[0]; c.Reason != "QuotaExceeded" {
				t.Errorf("the Run says %+v", c)
			}
			s.Change(t, quota, func() { quota.Spec.Hard[name] = resource.MustParse("50") })
			s.AwaitReady(t, w)
			expectOneRun(t, s, w)
		})
	}
}

// TestWebhookIsDown, and comes back.
func TestWebhookIsDown(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	hook := &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: s.Name},
		Webhooks: []admissionv1.ValidatingWebhook{{
			Name: "pods.mesh.example", SideEffects: new(admissionv1.SideEffectClassNone),
			AdmissionReviewVersions: []string{"v1"}, FailurePolicy: new(admissionv1.Fail),
			ClientConfig:      admissionv1.WebhookClientConfig{URL: new("https://127.0.0.1:1/")},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: s.Name}},
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.Create},
				Rule: admissionv1.Rule{
					APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"},
				},
			}},
		}},
	}
	if err := s.WithWatch.Create(t.Context(), hook); err != nil {
		t.Fatal(err)
	}
	remove := func() error { return client.IgnoreNotFound(s.Delete(kit.After(t), hook)) }
	t.Cleanup(func() {
		if err := remove(); err != nil {
			t.Error(err)
		}
	})
	w := s.Workspace("app", door)
	s.Create(t, w)
	awaitWaiting(t, s, w, "pods.mesh.example")
	if err := remove(); err != nil {
		t.Fatal(err)
	}
	s.AwaitReady(t, w)
	expectOneRun(t, s, w)
}

// TestAPodHasTheRunsName: a tenant has made it, and it is no Pod of the Run's. The Run goes on when it is gone.
func TestAPodHasTheRunsName(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	w := s.Workspace("app", door)
	s.Create(t, w)
	s.AwaitReady(t, w)
	tenant := s.Person(t, "tenant")
	tenant.Edits(t)
	name := run.Name(w, v1alpha1.RunSpec{
		Trigger: v1alpha1.Trigger{Kind: v1alpha1.TriggerRerun, Key: "1"}, Attempt: 1,
	})
	squatter := squatting(s, name)
	if err := tenant.Client(t).Create(t.Context(), squatter); err != nil {
		t.Fatal(err)
	}
	s.Rerun(t, w, "1")
	awaitWaiting(t, s, w, name)
	if err := tenant.Client(t).Delete(t.Context(), squatter, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	s.Change(t, w, func() { w.Spec.Retry.Limit = new(int32(3)) }) // an edit is tried at once
	kit.Await(t, s, w, func(w *v1alpha1.Workspace) bool { return w.Status.LastRerun == "1" })
	s.AwaitReady(t, w)
}

// squatting is a Pod that no node takes, and that PodSecurity restricted lets in: only its name matters.
func squatting(s *kit.Space, name string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: s.Name, Name: name}}
	p.Spec.NodeSelector = map[string]string{"no": "node"}
	p.Spec.SecurityContext = &corev1.PodSecurityContext{
		RunAsNonRoot: new(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	p.Spec.Containers = []corev1.Container{{
		Name: "c", Image: "nothing.example/nothing", SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
	}}
	return p
}

func awaitWaiting(t *testing.T, s *kit.Space, w *v1alpha1.Workspace, words string) {
	t.Helper()
	kit.Await(t, s, w, func(w *v1alpha1.Workspace) bool { return strings.Contains(w.Status.WaitingFor, words) })
}

func expectOneRun(t *testing.T, s *kit.Space, w *v1alpha1.Workspace) {
	t.Helper()
	if runs := s.Runs(t, w); len(runs) != 1 || runs[0].Spec.Attempt != 1 {
		t.Errorf("there are %d Runs, want the first attempt alone", len(runs))
	}
}
