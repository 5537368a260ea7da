//go:build integration

package deploy

import (
	"context"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
)

// policed is a real API server with the chart's admission policies at work.
type policed struct {
	config *rest.Config
	scheme *runtime.Scheme
}

const (
	controllerAccount = "system:serviceaccount:ns:rel-plumbline-controller"
	// otherController is that of another release, which the policies of this one bind too.
	otherController = "system:serviceaccount:elsewhere:second-plumbline-controller"
)

func newPoliced(t *testing.T) policed {
	t.Helper()
	env := &envtest.Environment{CRDDirectoryPaths: []string{"crds"}, ErrorIfCRDPathMissing: true}
	config, err := env.Start()
	if err != nil {
		t.Fatal("starting an API server (is KUBEBUILDER_ASSETS set? make integration does it): ", err)
	}
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Error(err)
		}
	})
	p := policed{config: config, scheme: runtime.NewScheme()}
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(p.scheme); err != nil {
			t.Fatal(err)
		}
	}
	p.create(t, objectsOf(t, "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")...)
	p.create(t, role("tenant", rbacv1.PolicyRule{
		Verbs: []string{"*"}, APIGroups: []string{"", "plumbline.dev"},
		Resources: []string{"pods", "secrets", "runs", "serviceaccounts", "serviceaccounts/token"},
	}, "tenant", controllerAccount, otherController, "admin", "person-with-everything")...)
	p.create(t, role("controllers", rbacv1.PolicyRule{
		Verbs: []string{"create"}, APIGroups: []string{"plumbline.dev"}, Resources: []string{"runs/controller"},
	}, controllerAccount, otherController, "person-with-everything")...)
	p.create(t, role("state", rbacv1.PolicyRule{
		Verbs: []string{"update"}, APIGroups: []string{"plumbline.dev"}, Resources: []string{"workspaces/state"},
	}, "admin")...)
	p.create(t, &corev1.ServiceAccount{ObjectMeta: meta("runner", nil)})
	p.awaitPolicies(t)
	return p
}

func objectsOf(t *testing.T, kinds ...string) []client.Object {
	t.Helper()
	var found []client.Object
	for _, u := range objects(t) {
		for _, kind := range kinds {
			if u.GetKind() == kind {
				found = append(found, &u)
			}
		}
	}
	if len(found) != 8 {
		t.Fatalf("the chart has %d policies and bindings, want 8", len(found))
	}
	return found
}

func role(name string, rule rbacv1.PolicyRule, users ...string) []client.Object {
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
	}
	for _, user := range users {
		binding.Subjects = append(binding.Subjects, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: "User", Name: user})
	}
	return []client.Object{
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{rule}}, binding,
	}
}

func (p policed) as(t *testing.T, user string, groups ...string) client.Client {
	t.Helper()
	config := rest.CopyConfig(p.config)
	if user != "" {
		config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: append(groups, "system:authenticated")}
	}
	c, err := client.New(config, client.Options{Scheme: p.scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (p policed) create(t *testing.T, objects ...client.Object) {
	t.Helper()
	c := p.as(t, "")
	for _, o := range objects {
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatalf("creating %T %s: %v", o, o.GetName(), err)
		}
	}
}

// awaitPolicies waits until each policy refuses what it is to refuse: the API server takes a moment to compile them.
func (p policed) awaitPolicies(t *testing.T) {
	t.Helper()
	c := p.as(t, "tenant")
	for _, o := range []client.Object{run("Change"), pod(runnerLabels()), secret(true)} {
		err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true,
			func(ctx context.Context) (bool, error) {
				err := c.Create(ctx, o.DeepCopyObject().(client.Object), client.DryRunAll)
				return apierrors.IsForbidden(err), nil
			})
		if err != nil {
			t.Fatalf("%T is never refused: %v", o, err)
		}
	}
}

func meta(name string, labels map[string]string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "default", Name: name, Labels: labels}
}

func run(trigger v1alpha1.TriggerKind) *v1alpha1.Run {
	return &v1alpha1.Run{ObjectMeta: meta("run", nil), Spec: v1alpha1.RunSpec{
		WorkspaceName: "w", Operation: v1alpha1.OperationApply, Attempt: 1, Trigger: v1alpha1.Trigger{Kind: trigger},
	}}
}

func runnerLabels() map[string]string {
	return map[string]string{"app.kubernetes.io/name": "plumbline", "app.kubernetes.io/component": "runner"}
}

func pod(labels map[string]string, owners ...metav1.OwnerReference) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: meta("pod", labels)}
	p.OwnerReferences = owners
	p.Spec.Containers = []corev1.Container{{Name: "c", Image: "i"}}
	return p
}

func secret(inputs bool) *corev1.Secret {
	s := &corev1.Secret{ObjectMeta: meta("secret", nil)}
	if inputs {
		s.Labels = map[string]string{"plumbline.dev/inputs": "true"}
	}
	return s
}

var ownedByRun = metav1.OwnerReference{APIVersion: "plumbline.dev/v1alpha1", Kind: "Run", Name: "r", UID: "u"}

// TestOnlyTheControllerMakesRunners: the chart's policies, on a real API server.
func TestOnlyTheControllerMakesRunners(t *testing.T) {
	p := newPoliced(t)
	for _, test := range []struct {
		name   string
		object client.Object
		words  string
	}{
		{"a Run by hand", run("Manual"), ""},
		{"a Run that names no trigger", run(""), ""},
		{"a Run for a change", run("Change"), "leave spec.trigger out"},
		{"a Run for a tick", run("Schedule"), "leave spec.trigger out"},
		{"a rerun", run("Rerun"), "leave spec.trigger out"},
		{"a retry", run("Retry"), "leave spec.trigger out"},
		{"a Run for a dependency", run("Dependency"), "leave spec.trigger out"},
		{"a Run for a deletion", run("Deletion"), "leave spec.trigger out"},
		{"a Pod", pod(nil), ""},
		{"a Pod of another runner", pod(map[string]string{"app.kubernetes.io/component": "runner"}), ""},
		{"a Pod of something else's Run", pod(nil, metav1.OwnerReference{
			APIVersion: "tekton.dev/v1", Kind: "Run", Name: "r", UID: "u"}), ""},
		{"a runner Pod", pod(runnerLabels()), "app.kubernetes.io/component: runner"},
		{"a Pod that says which Run's it is", pod(map[string]string{"plumbline.dev/run": "r"}), "plumbline.dev/run"},
		{"a Pod that a Run owns", pod(nil, ownedByRun), "that a Run owns"},
		{"a Secret", secret(false), ""},
		{"a Secret with inputs", secret(true), "plumbline.dev/inputs"},
	} {
		for user, words := range map[string]string{
			"tenant": test.words, "person-with-everything": test.words, controllerAccount: "", otherController: "",
		} {
			err := p.as(t, user).Create(t.Context(), test.object.DeepCopyObject().(client.Object), client.DryRunAll)
			if refused := apierrors.IsForbidden(err); refused != (words != "") || err != nil && !refused ||
				refused && !strings.Contains(err.Error(), words) {
				t.Errorf("%s by %s: got %v, want %q", test.name, user, err, words)
			}
		}
	}
	t.Run("by an edit", p.editing)
	t.Run("tokens", p.tokens)
}

// editing: what may not be made may not be made of something else, and what is there may be edited.
func (p policed) editing(t *testing.T) {
	tenant := p.as(t, "tenant")
	for name, edit := range map[string]struct {
		object  client.Object
		change  func(client.Object)
		refused bool
	}{
		"labels of a runner": {pod(nil), func(o client.Object) { o.SetLabels(runnerLabels()) }, true},
		"a Run as the owner": {pod(nil), func(o client.Object) {
			o.SetOwnerReferences([]metav1.OwnerReference{ownedByRun})
		}, true},
		"the label of inputs": {secret(false), func(o client.Object) { o.SetLabels(secret(true).Labels) }, true},
		"something else":      {pod(nil), func(o client.Object) { o.SetLabels(map[string]string{"a": "b"}) }, false},
		"something else of a runner": {pod(runnerLabels()), func(o client.Object) {
			o.SetAnnotations(map[string]string{"a": "b"})
		}, false},
	} {
		o := edit.object
		if err := p.as(t, controllerAccount).Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		edit.change(o)
		if err := tenant.Update(t.Context(), o); apierrors.IsForbidden(err) != edit.refused {
			t.Errorf("%s: got %v", name, err)
		}
		if err := tenant.Delete(t.Context(), o, client.GracePeriodSeconds(0)); err != nil {
			t.Fatal(err)
		}
	}
}

// tokens: who may ask for one that the state service takes.
func (p policed) tokens(t *testing.T) {
	for _, test := range []struct {
		name, audience string
		c              client.Client
		refused        bool
	}{
		{"a tenant, for the state service", "plumbline-state", p.as(t, "tenant"), true},
		{"a tenant, for somebody else", "vault", p.as(t, "tenant"), false},
		{"who may update states", "plumbline-state", p.as(t, "admin"), false},
		{"the cluster's administrator", "plumbline-state", p.as(t, ""), false},
	} {
		review := &authenticationv1.TokenRequest{
			Spec: authenticationv1.TokenRequestSpec{Audiences: []string{test.audience}},
		}
		account := &corev1.ServiceAccount{ObjectMeta: meta("runner", nil)}
		err := test.c.SubResource("token").Create(t.Context(), account, review)
		if apierrors.IsForbidden(err) != test.refused || err != nil && !test.refused {
			t.Errorf("%s: got %v", test.name, err)
		}
	}
}

// TestAdmissionPoliciesCanBeLeftOut, where somebody else keeps the same.
func TestAdmissionPoliciesCanBeLeftOut(t *testing.T) {
	for _, u := range objects(t, "--set", "admissionPolicies.enabled=false") {
		if strings.HasPrefix(u.GetKind(), "ValidatingAdmission") {
			t.Errorf("%s %s is there", u.GetKind(), u.GetName())
		}
	}
}
