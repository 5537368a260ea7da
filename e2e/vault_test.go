//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

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

// fromVault is a credential that takes what it takes from one path.
func fromVault(name, path string, takes ...func(*v1alpha1.VaultCredential)) v1alpha1.Credential {
	c := &v1alpha1.VaultCredential{Path: path}
	for _, take := range takes {
		take(c)
	}
	return v1alpha1.Credential{Name: name, Vault: c}
}

func asVariables(pairs map[string]string) func(*v1alpha1.VaultCredential) {
	return func(c *v1alpha1.VaultCredential) { c.Variables = pairs }
}

func asEnv(pairs map[string]string) func(*v1alpha1.VaultCredential) {
	return func(c *v1alpha1.VaultCredential) { c.Env = pairs }
}

func asFiles(pairs map[string]string) func(*v1alpha1.VaultCredential) {
	return func(c *v1alpha1.VaultCredential) { c.Files = pairs }
}

func withCredentials(all ...v1alpha1.Credential) func(*v1alpha1.Workspace) {
	return func(w *v1alpha1.Workspace) { w.Spec.Credentials = all }
}

// databaseUser is a configuration that is given a user of the database, beside a thing.
const databaseUser = `variable "username" { type = string }
variable "password" {
  type      = string
  sensitive = true
}
output "given" { value = nonsensitive(startswith(var.username, "v-") && length(var.password) > 8) }
`

var userAndPassword = asVariables(map[string]string{"username": "username", "password": "password"})

// TestVault gives credentials in every form, over both auth mounts, and takes them back: nothing that has a lease is
// left when the Run has ended.
func TestVault(t *testing.T) {
	t.Parallel()
	for mount, bundle := range map[string]bool{"auth/kubernetes": false, "auth/jwt": true} {
		t.Run(strings.TrimPrefix(mount, "auth/"), func(t *testing.T) {
			t.Parallel()
			v, s := suite.Vault(t), suite.NewSpace(t)
			s.Create(t, deployerAccount(s)...)
			class := classOf(t, s, mount, bundle)
			users, note := v.Grant(t, s, 5*time.Minute, time.Hour), v.Keep(t, s, "written on a note")
			hcl := configMap + databaseUser + `output "note" {
  value     = file("/var/run/plumbline/credentials/note.txt")
  sensitive = true
}
`
			w := s.Workspace("app", map[string]string{"main.tf": hcl},
				variables(t, "namespace", s.Name, "colour", "blue"), class, withCredentials(
					fromVault("cluster", "kubernetes/creds/"+kit.Deployer, func(c *v1alpha1.VaultCredential) {
						c.Method = v1alpha1.VaultWrite
						c.Parameters = parameters(fmt.Sprintf("%q", s.Name))
						c.Env = map[string]string{"KUBE_TOKEN": "service_account_token"}
					}),
					fromVault("database", users, userAndPassword),
					fromVault("note", note, asFiles(map[string]string{"note.txt": "value"}))),
				inCluster)
			s.Create(t, w)
			s.AwaitReady(t, w)
			outputs := outputsOf(t, s, "app-outputs")
			for name, want := range map[string]string{"colour": "blue", "given": "true", "note": "written on a note"} {
				if got := string(outputs[name]); got != want {
					t.Errorf("output %s is %q, want %q", name, got, want)
				}
			}
			v.AwaitLeases(t, s, users, 0)
			s.Rerun(t, w, "again")
			s.AwaitRun(t, w, "the rerun", func(r *v1alpha1.Run) bool {
				return r.Spec.Trigger.Kind == v1alpha1.TriggerRerun && job.Class(r.Status.Class).Succeeded()
			})
			remove(t, s, w)
			v.AwaitLeases(t, s, users, 0)
		})
	}
}

// classOf is one whose Vault is asked at a mount, and known by the class or by a bundle in the Space alone.
func classOf(t *testing.T, s *kit.Space, mount string, bundle bool) func(*v1alpha1.Workspace) {
	t.Helper()
	v := suite.Vault(t)
	if !bundle {
		return s.VaultClass(t, v, func(server *v1alpha1.VaultServer) { server.AuthPath = mount })
	}
	s.Create(t, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "vault-ca"}, Data: map[string]string{"ca.crt": string(v.CA())},
	})
	use := s.VaultClass(t, v, func(server *v1alpha1.VaultServer) { server.AuthPath, server.CABundle = mount, "" })
	return func(w *v1alpha1.Workspace) {
		use(w)
		w.Spec.Trust = []v1alpha1.TrustBundle{{ConfigMapName: "vault-ca", Key: "ca.crt"}}
	}
}

func parameters(namespace string) map[string]apiextensionsv1.JSON {
	return map[string]apiextensionsv1.JSON{"kubernetes_namespace": {Raw: []byte(namespace)}}
}

// deployerAccount may manage ConfigMaps; Vault makes tokens of it.
func deployerAccount(s *kit.Space) []client.Object {
	return account(s, kit.Deployer, rbacv1.PolicyRule{
		APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"*"},
	})
}

// inCluster tells the kubectl provider where the API server is.
func inCluster(w *v1alpha1.Workspace) {
	w.Spec.PodTemplate = &v1alpha1.PodTemplate{Env: []corev1.EnvVar{
		{Name: "KUBE_HOST", Value: "https://kubernetes.default.svc"},
		{Name: "KUBE_LOAD_CONFIG_FILE", Value: "false"},
		{Name: "KUBE_CLUSTER_CA_CERT_DATA", ValueFrom: &corev1.EnvVarSource{
			ConfigMapKeyRef: &corev1.ConfigMapKeySelector{
				LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"}, Key: "ca.crt",
			},
		}},
	}}
}

// chain is a configuration of things that are made one after the other.
func chain(s *kit.Space, n int) string {
	hcl := s.Provider()
	for i := range n {
		name := fmt.Sprintf("t%d", i)
		thing := kit.Thing(name, "1")
		if i > 0 {
			thing = strings.Replace(thing, "\n}", fmt.Sprintf("\n  depends_on = [cloud_thing.t%d]\n}", i-1), 1)
		}
		hcl += thing
	}
	return hcl
}

// TestLeaseShorterThanTheApply: Terraform is interrupted before its credentials end, and goes on in the next Run. What
// was made is made once.
func TestLeaseShorterThanTheApply(t *testing.T) {
	t.Parallel()
	v, s := suite.Vault(t), suite.NewSpace(t)
	s.Patience = 4 * time.Minute
	const things = 12
	s.Faults(t, cloud.Fault{Op: cloud.Create, Kind: cloud.Delay, Seconds: 3})
	users := v.Grant(t, s, 20*time.Second, 30*time.Second)
	w := s.Workspace("app", map[string]string{"main.tf": chain(s, things) + databaseUser},
		s.VaultClass(t, v), withCredentials(fromVault("database", users, userAndPassword)))
	s.Create(t, w)
	s.AwaitReady(t, w)
	expired := 0
	for _, r := range s.Runs(t, w) {
		if r.Status.Class == string(job.CredentialsExpired) {
			expired++
			t.Logf("Run %s: %s", r.Name, r.Status.Message)
		}
	}
	if expired == 0 {
		t.Error("no Run was interrupted: the lease did not end during the apply, and this test shows nothing")
	}
	if n := s.Begun(t, cloud.Made); n != things || len(s.Things(t)) != things {
		t.Errorf("%d things were made, and %d are there, want %d", n, len(s.Things(t)), things)
	}
	s.Faults(t)
	remove(t, s, w)
	v.AwaitLeases(t, s, users, 0)
}

// TestKilledDriverIsRevoked: a Pod that is killed hard can't revoke; the controller does, long before the lease ends.
func TestKilledDriverIsRevoked(t *testing.T) {
	t.Parallel()
	v, s := suite.Vault(t), suite.NewSpace(t)
	users := v.Grant(t, s, 30*time.Minute, time.Hour)
	w := s.Workspace("app", map[string]string{"main.tf": halfway(s)["main.tf"] + databaseUser},
		s.VaultClass(t, v), withCredentials(fromVault("database", users, userAndPassword)))
	s.Faults(t, cloud.Fault{Op: cloud.Create, Kind: cloud.Hang, After: 1})
	s.Create(t, w)
	s.AwaitBegun(t, cloud.Create, 2)
	v.AwaitLeases(t, s, users, 1)
	run := s.AwaitPod(t, w)
	s.Change(t, w, func() { w.Spec.Suspend = true }) // no retry with a lease of its own
	err := s.Set.CoreV1().Pods(s.Name).Delete(t.Context(), run.Status.PodName, *metav1.NewDeleteOptions(0))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	v.AwaitLeases(t, s, users, 0)
	t.Logf("revoked %.1f s after the Pod was killed", time.Since(began).Seconds())
	s.AwaitRun(t, w, "lost", ended(job.PodLost))
	s.Faults(t)
}

// TestCredentialsThatCannotBeHad say so within one attempt, by path and role, and heal by themselves.
func TestCredentialsThatCannotBeHad(t *testing.T) {
	t.Parallel()
	v := suite.Vault(t)
	hcl := map[string]string{"main.tf": databaseUser}
	for name, c := range map[string]struct {
		server func(*v1alpha1.VaultServer)
		change func(*v1alpha1.VaultCredential)
		class  job.Class
		says   []string
	}{
		"unknown role": {nil, func(c *v1alpha1.VaultCredential) { c.Role = "nobody" }, job.CredentialsDenied,
			[]string{"nobody", "auth/kubernetes"}},
		"unknown path": {nil, func(c *v1alpha1.VaultCredential) { c.Path = "nowhere/creds/x" }, job.CredentialsDenied,
			[]string{"nowhere/creds/x", kit.VaultRole}},
		"a field that is not there": {nil, asVariables(map[string]string{"username": "login", "password": "password"}),
			job.ConfigInvalid, []string{`"login"`, "username", "password"}},
		"another CA": {func(s *v1alpha1.VaultServer) { s.CABundle = string(suite.Config.CAData) }, nil,
			job.CredentialsUnavailable, []string{"certificate"}},
		"a CA that is none": {func(s *v1alpha1.VaultServer) { s.CABundle = "no PEM" }, nil, job.ConfigInvalid,
			[]string{"caBundle"}},
		"nobody listens": {func(s *v1alpha1.VaultServer) { s.Address = "https://" + v.Database.Host }, nil,
			job.CredentialsUnavailable, []string{v.Database.Host}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := suite.NewSpace(t)
			credential := fromVault("database", v.Grant(t, s, 5*time.Minute, time.Hour), userAndPassword)
			if c.change != nil {
				c.change(credential.Vault)
			}
			if c.server == nil {
				c.server = func(*v1alpha1.VaultServer) {}
			}
			w := s.Workspace("app", hcl, s.VaultClass(t, v, c.server), withCredentials(credential),
				func(w *v1alpha1.Workspace) {
					w.Spec.Timeouts.Credentials = &metav1.Duration{Duration: 5 * time.Second}
				})
			s.Create(t, w)
			message := s.AwaitReason(t, w, c.class)
			for _, want := range c.says {
				if !strings.Contains(message, want) {
					t.Errorf("it says %q, and not %q", message, want)
				}
			}
			if w.Status.Failures > 1 {
				t.Errorf("it took %d attempts to tell", w.Status.Failures)
			}
		})
	}
}
