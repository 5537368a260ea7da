//go:build e2e

package e2e

import (
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/e2e/kit"
)

// kubeconfig is docs/backends.md's: it holds no secret, but says where the Pod's token is.
const kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: here, cluster: {server: "https://kubernetes.default.svc"}}]
users: [{name: run, user: {tokenFile: /var/run/secrets/plumbline/tokens/cluster/token}}]
contexts: [{name: here, context: {cluster: here, user: run}}]
current-context: here
`

// TestKubernetesBackend keeps the state in a Secret of the Workspace's namespace, as the Pod's ServiceAccount.
func TestKubernetesBackend(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	s.Create(t, stateKeeper(s)...)
	w := s.Workspace("app", map[string]string{
		"main.tf": s.Provider() + kit.Thing("x", "1"), "kubeconfig": kubeconfig,
	}, func(w *v1alpha1.Workspace) {
		w.Spec.ServiceAccountName = keeper
		w.Spec.Trust = []v1alpha1.TrustBundle{{ConfigMapName: "kube-root-ca.crt", Key: "ca.crt"}}
		w.Spec.Credentials = []v1alpha1.Credential{{Name: "cluster", ServiceAccountToken: &v1alpha1.ServiceAccountToken{
			Audience: "https://kubernetes.default.svc", Env: "CLUSTER_TOKEN_FILE",
		}}}
		w.Spec.Backend = &v1alpha1.Backend{Type: "kubernetes", Config: map[string]apiextensionsv1.JSON{
			"config_path": quoted("kubeconfig"), "namespace": quoted(s.Name), "secret_suffix": quoted("app"),
		}}
	})
	s.Create(t, w)
	s.AwaitReady(t, w)
	kept := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.Name, Name: "tfstate-default-app"}}
	kit.Await(t, s, kept, func(secret *corev1.Secret) bool { return len(secret.Data["tfstate"]) > 0 })
	again(t, s, w)
	remove(t, s, w)
	var leases coordinationv1.LeaseList
	if err := s.List(t.Context(), &leases, client.InNamespace(s.Name)); err != nil {
		t.Fatal(err)
	}
	if len(leases.Items) != 1 {
		t.Errorf("there are %d Leases, want the one that was the lock", len(leases.Items))
	}
	for _, l := range leases.Items {
		if l.Spec.HolderIdentity != nil {
			t.Errorf("lock %s is left with %s", l.Name, *l.Spec.HolderIdentity)
		}
	}
}

const keeper = "terraform"

// stateKeeper may do what the backend has to.
func stateKeeper(s *kit.Space) []client.Object {
	verbs := []string{"get", "list", "create", "update", "delete"}
	return account(s, keeper,
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: verbs},
		rbacv1.PolicyRule{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: verbs})
}
