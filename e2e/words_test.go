//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/e2e/cloud"
	"github.com/plumbline-dev/plumbline/e2e/kit"
)

// variables are names and values in turn.
func variables(t *testing.T, pairs ...any) func(*v1alpha1.Workspace) {
	t.Helper()
	var all []v1alpha1.Variable
	for i := 0; i < len(pairs); i += 2 {
		raw, err := json.Marshal(pairs[i+1])
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, v1alpha1.Variable{Name: fmt.Sprint(pairs[i]), Value: &apiextensionsv1.JSON{Raw: raw}})
	}
	return func(w *v1alpha1.Workspace) { w.Spec.Variables = all }
}

func schedule(cron string, action v1alpha1.DriftAction) func(*v1alpha1.Workspace) {
	return func(w *v1alpha1.Workspace) { w.Spec.Drift = &v1alpha1.Drift{Schedule: cron, Action: action} }
}

// awaitOutputs waits until an outputs Secret holds exactly this.
func awaitOutputs(t *testing.T, s *kit.Space, name string, want map[string]string) {
	t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.Name, Name: name}}
	got := func() map[string]string {
		all := map[string]string{}
		for key, value := range secret.Data {
			all[key] = string(value)
		}
		return all
	}
	met := false
	defer func() {
		if !met {
			t.Logf("outputs in Secret %s (-want +got):\n%s", name, cmp.Diff(want, got()))
		}
	}()
	kit.Await(t, s, secret, func(*corev1.Secret) bool { return cmp.Equal(want, got()) })
	met = true
}

// outputsOf waits until the outputs Secret is there.
func outputsOf(t *testing.T, s *kit.Space, name string) map[string][]byte {
	t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.Name, Name: name}}
	kit.Await(t, s, secret, func(*corev1.Secret) bool { return true })
	return secret.Data
}

// remove deletes a Workspace and waits until it is gone, with what it made.
func remove(t *testing.T, s *kit.Space, w *v1alpha1.Workspace) {
	t.Helper()
	if err := s.Delete(t.Context(), w); err != nil {
		t.Fatalf("deleting Workspace: %v", err)
	}
	s.AwaitGone(t, w)
	if things := s.Things(t); len(things) > 0 {
		t.Errorf("left behind: %v", things)
	}
}

// ended picks finished Runs of a class.
func ended(class job.Class) func(*v1alpha1.Run) bool {
	return func(r *v1alpha1.Run) bool { return r.Status.Class == string(class) }
}

// halfway is the configuration of two things, of which the second waits for the first.
func halfway(s *kit.Space) map[string]string {
	second := strings.Replace(kit.Thing("second", "2"), "\n}", "\n  depends_on = [cloud_thing.first]\n}", 1)
	return map[string]string{"main.tf": s.Provider() + kit.Thing("first", "1") + second}
}

// started makes a Workspace of two things whose apply hangs at the second, and returns it with its Run.
func started(t *testing.T, s *kit.Space, options ...func(*v1alpha1.Workspace)) (*v1alpha1.Workspace, *v1alpha1.Run) {
	t.Helper()
	w := s.Workspace("app", halfway(s), options...)
	s.Faults(t, cloud.Fault{Op: cloud.Create, Kind: cloud.Hang, After: 1})
	s.Create(t, w)
	s.AwaitBegun(t, cloud.Create, 2)
	return w, s.AwaitPod(t, w)
}

// expectOnce checks that both things of halfway are there, and that nothing was made twice or lost.
func expectOnce(t *testing.T, s *kit.Space, creates int) {
	t.Helper()
	if diff := cmp.Diff(map[string]string{"first": "1", "second": "2"}, s.Things(t)); diff != "" {
		t.Errorf("things (-want +got):\n%s", diff)
	}
	if n := s.Begun(t, cloud.Create); n != creates {
		t.Errorf("the provider was asked to create %d times, want %d: something was lost or doubled", n, creates)
	}
}

// account is a ServiceAccount that may do this in the Space.
func account(s *kit.Space, name string, rules ...rbacv1.PolicyRule) []client.Object {
	meta := metav1.ObjectMeta{Name: name}
	return []client.Object{
		&corev1.ServiceAccount{ObjectMeta: meta},
		&rbacv1.Role{ObjectMeta: meta, Rules: rules},
		&rbacv1.RoleBinding{
			ObjectMeta: meta,
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
			Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: name, Namespace: s.Name}},
		},
	}
}
