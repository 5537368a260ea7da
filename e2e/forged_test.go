//go:build e2e

package e2e

import (
	"net/http"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/e2e/cloud"
	"github.com/plumbline-dev/plumbline/e2e/kit"
	"github.com/plumbline-dev/plumbline/runner/run"
)

// TestForgedRuns: nobody but the controller makes a Run with a reserved trigger, and the Workspace goes its way.
func TestForgedRuns(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	w := s.Workspace("app", halfway(s))
	s.Create(t, w)
	s.AwaitReady(t, w)
	tenant := s.Person(t, "tenant")
	tenant.Edits(t)
	for kind, key := range map[v1alpha1.TriggerKind]string{
		v1alpha1.TriggerDeletion: "attempt 1", v1alpha1.TriggerSchedule: "2999-01-01T00:00:00Z", v1alpha1.TriggerRetry: "x",
		v1alpha1.TriggerRerun: "1", v1alpha1.TriggerChange: "x", v1alpha1.TriggerDependency: "x",
	} {
		forged := &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Namespace: s.Name}, Spec: v1alpha1.RunSpec{
			WorkspaceName: w.Name, Operation: v1alpha1.OperationPlan, Attempt: 1,
			Trigger: v1alpha1.Trigger{Kind: kind, Key: key},
		}}
		forged.Name = run.Name(w, forged.Spec)
		forged.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(w,
			v1alpha1.GroupVersion.WithKind("Workspace"))}
		if err := tenant.Client(t).Create(t.Context(), forged); !refusedWith(err, "leave spec.trigger out") {
			t.Errorf("%s: got %v", kind, err)
		}
	}
	if err := s.Delete(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	s.AwaitGone(t, w)
	if things := s.Things(t); len(things) != 0 {
		t.Errorf("the Workspace is gone, and there is %v", things)
	}
}

// TestEditReadsNoState: every way to a state that is open to somebody with the role edit, but for a shell in the
// runner's own Pod and for what the Workspace's own code does, which docs/operations.md names.
func TestEditReadsNoState(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	w := s.Workspace("app", halfway(s))
	s.Create(t, w)
	s.AwaitReady(t, w)
	s.AwaitPeopleAPI(t)
	s.Faults(t, cloud.Fault{Op: cloud.Read, Kind: cloud.Hang})
	s.Rerun(t, w, "1")
	s.AwaitBegun(t, cloud.Read, 1)
	r := s.AwaitPod(t, w)
	person := s.Person(t, "eve")
	person.Edits(t)
	eve := person.Client(t)
	labelled := squatting(s, "labelled")
	labelled.Labels = map[string]string{"app.kubernetes.io/name": "plumbline", "app.kubernetes.io/component": "runner"}
	owned := squatting(s, "owned")
	owned.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(r, v1alpha1.GroupVersion.WithKind("Run"))}
	bound := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences:      []string{kit.StateAudience},
		BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: r.Status.PodName},
	}}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: s.Name, Name: "default"}}
	recorded := r.DeepCopy()
	recorded.Status.PodUID = "forged"
	for name, try := range map[string]struct {
		err   error
		words string
	}{
		"a runner's labels":         {eve.Create(t.Context(), labelled), "component: runner"},
		"a Run as the owner":        {eve.Create(t.Context(), owned), "that a Run owns"},
		"a token bound to the Pod":  {eve.SubResource("token").Create(t.Context(), account, bound), "open states"},
		"another Pod in the record": {eve.Status().Patch(t.Context(), recorded, client.MergeFrom(r)), "runs/status"},
		"the store's Secrets":       {eve.List(t.Context(), &corev1.SecretList{}, client.InNamespace(kit.System)), "secrets"},
	} {
		if !refusedWith(try.err, try.words) {
			t.Errorf("%s: got %v", name, try.err)
		}
	}
	if out, err := person.Plumbline(t, "state", "pull", "app"); err == nil {
		t.Errorf("plumbline state pull: got %q", out)
	}
	// A Pod of hers, with a token for the state service that a node gives to any Pod that asks for it.
	own := squatting(s, "own")
	if err := eve.Create(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	request := kit.Request{
		Method: http.MethodGet, Path: s.Name + "/app/state", Token: s.PodToken(t, own, kit.StateAudience),
	}
	if got, text := s.StateService(t).Do(t, request); got != http.StatusForbidden {
		t.Errorf("the token of her own Pod: got %d: %s", got, text)
	}
	s.Faults(t)
	kit.Await(t, s, r, func(r *v1alpha1.Run) bool { return r.Status.FinishedAt != nil })
}

func refusedWith(err error, words string) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), words)
}
