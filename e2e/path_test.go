//go:build e2e

package e2e

import (
	"fmt"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/e2e/kit"
)

// configMap is the configuration of one real object of Kubernetes, whose labels anyone can see drift.
const configMap = `terraform {
  required_providers {
    kubectl = { source = "gavinbunney/kubectl" }
  }
}

variable "namespace" { type = string }
variable "colour" { type = string }

resource "kubectl_manifest" "settings" {
  yaml_body = yamlencode({
    apiVersion = "v1", kind = "ConfigMap", metadata = { name = "settings", namespace = var.namespace }
    data = { colour = var.colour }
  })
}

output "uid" { value = kubectl_manifest.settings.live_uid }
output "colour" { value = var.colour }
output "numbers" { value = [1, 2] }
output "secret" {
  value     = "do not show ${var.colour}"
  sensitive = true
}
`

// TestApplyDriftRerunDelete is the main job from end to end, with the default RunnerClass and a real provider.
func TestApplyDriftRerunDelete(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	s.Create(t, deployer(t, s))
	w := s.Workspace("app", map[string]string{"main.tf": configMap}, variables(t, "namespace", s.Name, "colour", "blue"),
		schedule("@every 15s", v1alpha1.DriftCorrect), func(w *v1alpha1.Workspace) {
			w.Spec.RunnerClassName = ""
			w.Spec.Credentials = []v1alpha1.Credential{{Name: "kube", SecretRef: &v1alpha1.SecretRef{Name: "deployer"}}}
		})
	s.Create(t, w)
	s.AwaitReady(t, w)

	settings := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: s.Name, Name: "settings"}}
	kit.Await(t, s, settings, colour("blue"))
	want := map[string]string{
		"uid": string(settings.UID), "colour": "blue", "numbers": "[1,2]", "secret": "do not show blue",
	}
	awaitOutputs(t, s, "app-outputs", want)

	s.Change(t, settings, func() { settings.Data["colour"] = "red" })
	kit.Await(t, s, settings, colour("blue"))
	run := s.AwaitRun(t, w, "the scheduled correction", func(r *v1alpha1.Run) bool {
		return r.Spec.Trigger.Kind == v1alpha1.TriggerSchedule && r.Status.Class == string(job.Applied)
	})
	if run.Status.Changes == nil || run.Status.Changes.Change != 1 {
		t.Errorf("the correction changed %+v, want one resource", run.Status.Changes)
	}

	s.Rerun(t, w, "please")
	s.AwaitRun(t, w, "the rerun", func(r *v1alpha1.Run) bool {
		return r.Spec.Trigger.Kind == v1alpha1.TriggerRerun && r.Spec.Trigger.Key == "please"
	})

	remove(t, s, w)
	s.AwaitGone(t, settings)
}

func TestDriftIsReportedOnly(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	w := s.Workspace("app", map[string]string{"main.tf": s.Provider() + kit.Thing("x", "right")},
		schedule("@every 5s", v1alpha1.DriftReport))
	s.Create(t, w)
	s.AwaitReady(t, w)
	s.Drift(t, "x", "wrong")
	kit.Await(t, s, w, func(w *v1alpha1.Workspace) bool {
		return kit.Condition(w, v1alpha1.ConditionDrifted).Status == metav1.ConditionTrue
	})
	if !kit.Ready(w) {
		t.Error("a plan that only reports took Ready away")
	}
	if d := w.Status.Drift; d == nil || d.Total != 1 || d.Resources[0].Address != "cloud_thing.x" {
		t.Errorf("drift is %+v, want cloud_thing.x", d)
	}
	if got := s.Things(t)["x"]; got != "wrong" {
		t.Errorf("the thing is %q: a report corrected it", got)
	}
	// Other triggers apply all the same.
	s.Rerun(t, w, "now")
	kit.Await(t, s, w, func(w *v1alpha1.Workspace) bool {
		return kit.Condition(w, v1alpha1.ConditionDrifted).Status == metav1.ConditionFalse
	})
	if got := s.Things(t)["x"]; got != "right" {
		t.Errorf("the thing is %q after a rerun", got)
	}
}

func TestModuleInTheImage(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	w := s.Workspace("app", nil, variables(t, "greeting", "hola"), func(w *v1alpha1.Workspace) {
		w.Spec.Source = v1alpha1.Source{Image: &v1alpha1.ImageSource{Path: "/modules/example"}}
		w.Spec.Outputs = &v1alpha1.Outputs{SecretName: "greeting"}
	})
	s.Create(t, w)
	s.AwaitReady(t, w)
	awaitOutputs(t, s, "greeting", map[string]string{"greeting": "hola"})
}

// TestVariablesFollowTheirSources: what a Secret or ConfigMap says is applied, and again when it says something else.
func TestVariablesFollowTheirSources(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	secret := kit.Secret("vpn", map[string]string{"psk": "one"})
	settings := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "vpn"}, Data: map[string]string{"region": "eu"}}
	s.Create(t, secret, settings)
	const hcl = `variable "psk" {
  type      = string
  sensitive = true
}
variable "region" { type = string }
variable "sizes" { type = map(number) }
output "all" {
  value     = "${var.psk} ${var.region} ${var.sizes.small}"
  sensitive = true
}
`
	w := s.Workspace("vpn", map[string]string{"main.tf": hcl}, func(w *v1alpha1.Workspace) {
		w.Spec.Variables = []v1alpha1.Variable{
			{Name: "psk", ValueFrom: &v1alpha1.ValueFrom{SecretKeyRef: &v1alpha1.KeyRef{Name: "vpn", Key: "psk"}}},
			{Name: "region", ValueFrom: &v1alpha1.ValueFrom{ConfigMapKeyRef: &v1alpha1.KeyRef{Name: "vpn", Key: "region"}}},
			{Name: "sizes", Value: &apiextensionsv1.JSON{Raw: []byte(`{"small": 1}`)}},
		}
	})
	s.Create(t, w)
	s.AwaitReady(t, w)
	awaitOutputs(t, s, "vpn-outputs", map[string]string{"all": "one eu 1"})
	s.Change(t, settings, func() { settings.Data["region"] = "us" })
	awaitOutputs(t, s, "vpn-outputs", map[string]string{"all": "one us 1"})
	s.Change(t, secret, func() { secret.Data["psk"] = []byte("two") })
	awaitOutputs(t, s, "vpn-outputs", map[string]string{"all": "two us 1"})
	for _, r := range s.Runs(t, w) {
		if r.Spec.Trigger.Kind != v1alpha1.TriggerChange {
			t.Errorf("Run %s was triggered by %s", r.Name, r.Spec.Trigger.Kind)
		}
	}
}

// TestOpenShift: an arbitrary UID out of the namespace's range, as restricted-v2 gives it.
func TestOpenShift(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t, func(n *corev1.Namespace) {
		n.Labels["e2e.plumbline.dev/openshift"] = "true"
		n.Annotations = map[string]string{"openshift.io/sa.scc.uid-range": "1000730000/10000"}
	})
	w := s.Workspace("app", map[string]string{"main.tf": s.Provider() + kit.Thing("x", "1")})
	s.Create(t, w)
	s.AwaitReady(t, w)
	run := s.Runs(t, w)[0]
	pod, err := s.Set.CoreV1().Pods(s.Name).Get(t.Context(), run.Status.PodName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if uid := pod.Spec.SecurityContext.RunAsUser; uid == nil || *uid != 1000730000 {
		t.Errorf("the Pod ran as %v", uid)
	}
	remove(t, s, w)
}

// deployer is a ServiceAccount that may manage ConfigMaps, as a Secret that the kubectl provider understands.
func deployer(t *testing.T, s *kit.Space) *corev1.Secret {
	t.Helper()
	name := metav1.ObjectMeta{Name: "deployer"}
	s.Create(t,
		&corev1.ServiceAccount{ObjectMeta: name},
		&rbacv1.Role{ObjectMeta: name, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"*"}},
		}},
		&rbacv1.RoleBinding{
			ObjectMeta: name,
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "deployer"},
			Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: "deployer", Namespace: s.Name}},
		},
	)
	token, err := s.Set.CoreV1().ServiceAccounts(s.Name).CreateToken(t.Context(), "deployer",
		&authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("making a token: %v", err)
	}
	root := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: s.Name, Name: "kube-root-ca.crt"}}
	kit.Await(t, s, root, func(*corev1.ConfigMap) bool { return true })
	return kit.Secret("deployer", map[string]string{
		"KUBE_HOST":                 "https://kubernetes.default.svc",
		"KUBE_TOKEN":                token.Status.Token,
		"KUBE_CLUSTER_CA_CERT_DATA": root.Data["ca.crt"],
		"KUBE_LOAD_CONFIG_FILE":     "false",
	})
}

func colour(want string) func(*corev1.ConfigMap) bool {
	return func(c *corev1.ConfigMap) bool { return c.Data["colour"] == want }
}

// TestWritesOfADriftCheck: six at most by the controller, for a check that finds nothing, pruning included.
func TestWritesOfADriftCheck(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	w := s.Workspace("app", map[string]string{"main.tf": s.Provider() + kit.Thing("x", "1")}, func(w *v1alpha1.Workspace) {
		w.Spec.History = &v1alpha1.History{Succeeded: new(int32(1))}
	})
	s.Create(t, w)
	s.AwaitReady(t, w)
	writes := s.CountWrites(t)
	check := func(name string) int {
		s.Rerun(t, w, name)
		kit.Await(t, s, w, func(w *v1alpha1.Workspace) bool { return w.Status.LastRerun == name })
		return writes()
	}
	// The API server takes a moment to heed the FlowSchema.
	for i := 0; check(fmt.Sprintf("warm up %d", i)) == 0; i++ {
	}
	before, after := check("before"), 0
	const checks = 3
	for i := range checks {
		after = check(fmt.Sprintf("check %d", i))
	}
	if perCheck := float64(after-before) / checks; perCheck > 6 {
		t.Errorf("a check costs %.1f writes, want at most 6", perCheck)
	}
}
