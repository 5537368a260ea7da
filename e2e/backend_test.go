//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/e2e/kit"
)

// TestKubernetesBackend keeps a state in Terraform's own kubernetes backend, moves it to the state service and back on
// purpose, has a stale lock released, and destroys.
func TestKubernetesBackend(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	s.Create(t, stateKeeper(t, s))
	config := map[string]any{"secret_suffix": "app", "namespace": s.Name, "host": "https://kubernetes.default.svc"}
	backend := &v1alpha1.Backend{
		Type: "kubernetes", Config: jsonValues(t, config), SecretRef: &v1alpha1.SecretRef{Name: "state-keeper"},
	}
	w := s.Workspace("app", halfway(s), func(w *v1alpha1.Workspace) { w.Spec.Backend = backend })
	s.Create(t, w)
	s.AwaitReady(t, w)
	state := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.Name, Name: "tfstate-default-app"}}
	kit.Await(t, s, state, func(*corev1.Secret) bool { return true })

	s.Change(t, w, func() { w.Spec.Backend = nil })
	s.AwaitReason(t, w, job.ConfigInvalid)
	stalled := kit.Condition(w, v1alpha1.ConditionStalled).Message
	if !strings.Contains(stalled, "the state lies in the backend kubernetes") {
		t.Errorf("it says %q", stalled)
	}
	s.Change(t, w, func() { w.Spec.BackendChange = v1alpha1.BackendMigrate })
	awaitState(t, s, w, job.OwnBackend)
	s.Change(t, w, func() { w.Spec.Backend = backend })
	awaitState(t, s, w, "kubernetes")
	for _, r := range s.Runs(t, w) {
		if c := r.Status.Changes; r.Status.Class == string(job.Applied) && c.Add != 2 {
			t.Errorf("Run %s changed %s: a move is no change", r.Name, c.Summary)
		}
	}
	expectOnce(t, s, 2)

	const id = "6a1f0f8e-0000-4000-8000-000000000001"
	lock := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: s.Name, Name: "lock-tfstate-default-app"}}
	s.Change(t, lock, func() {
		lock.Spec.HolderIdentity = new(id)
		info := fmt.Sprintf(`{"ID":%q,"Operation":"OperationTypeApply","Info":"","Who":"ann@laptop","Version":"1.11.4",`+
			`"Created":"2026-01-02T03:04:05Z","Path":""}`, id)
		lock.Annotations = map[string]string{"app.terraform.io/lock-info": info}
	})
	s.Rerun(t, w, "locked")
	locked := s.AwaitRun(t, w, "one that is locked out", ended(job.StateLocked))
	if !strings.Contains(locked.Status.Message, id) || !strings.Contains(locked.Status.Message, "ann@laptop") {
		t.Errorf("it says %q", locked.Status.Message)
	}
	s.Change(t, w, func() { w.Annotations[v1alpha1.AnnotationUnlock] = id })
	s.AwaitRun(t, w, "one that releases the lock", func(r *v1alpha1.Run) bool {
		return r.Spec.ForceUnlock == id && r.Status.Class == string(job.NoChanges)
	})
	remove(t, s, w)
}

func awaitState(t *testing.T, s *kit.Space, w *v1alpha1.Workspace, kind string) {
	t.Helper()
	kit.Await(t, s, w, func(w *v1alpha1.Workspace) bool {
		return kit.Ready(w) && w.Status.Backend != nil && w.Status.Backend.Type == kind
	})
}

func jsonValues(t *testing.T, values map[string]any) map[string]apiextensionsv1.JSON {
	t.Helper()
	all := map[string]apiextensionsv1.JSON{}
	for name, value := range values {
		raw, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = apiextensionsv1.JSON{Raw: raw}
	}
	return all
}

// stateKeeper is a ServiceAccount that may keep states, as the secret arguments of the kubernetes backend.
func stateKeeper(t *testing.T, s *kit.Space) *corev1.Secret {
	t.Helper()
	name := metav1.ObjectMeta{Name: "state-keeper"}
	s.Create(t,
		&corev1.ServiceAccount{ObjectMeta: name},
		&rbacv1.Role{ObjectMeta: name, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"*"}},
			{APIGroups: []string{coordinationv1.GroupName}, Resources: []string{"leases"}, Verbs: []string{"*"}},
		}},
		&rbacv1.RoleBinding{
			ObjectMeta: name,
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name.Name},
			Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: name.Name, Namespace: s.Name}},
		},
	)
	token, err := s.Set.CoreV1().ServiceAccounts(s.Name).CreateToken(t.Context(), name.Name,
		&authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("making a token: %v", err)
	}
	root := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: s.Name, Name: "kube-root-ca.crt"}}
	kit.Await(t, s, root, func(*corev1.ConfigMap) bool { return true })
	return kit.Secret(name.Name, map[string]string{
		"token": token.Status.Token, "cluster_ca_certificate": root.Data["ca.crt"],
	})
}
