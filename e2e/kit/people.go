package kit

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/state/people"
)

// Person is somebody who has a kubeconfig, and rights in the test's namespace alone.
type Person struct {
	s          *Space
	Name       string
	kubeconfig string
}

// Person makes somebody who logs in by a ServiceAccount's token.
func (s *Space) Person(t testing.TB, name string) *Person {
	t.Helper()
	s.Create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}})
	token, err := s.Set.CoreV1().ServiceAccounts(s.Name).CreateToken(t.Context(), name,
		&authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("making a token: %v", err)
	}
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters[name] = &clientcmdapi.Cluster{Server: s.Config.Host, CertificateAuthorityData: s.Config.CAData}
	cfg.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	cfg.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name, Namespace: s.Name}
	cfg.CurrentContext = name
	p := &Person{s: s, Name: name, kubeconfig: filepath.Join(t.TempDir(), name+".kubeconfig")}
	if err := clientcmd.WriteToFile(*cfg, p.kubeconfig); err != nil {
		t.Fatal(err)
	}
	return p
}

// May grants rights on Plumbline's objects, as "get,list workspaces runs", and on Pods.
func (p *Person) May(t testing.TB, rights ...string) {
	t.Helper()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: p.Name}}
	for _, r := range rights {
		verbs, resources, _ := strings.Cut(r, " ")
		role.Rules = append(role.Rules, rbacv1.PolicyRule{
			APIGroups: []string{v1alpha1.GroupVersion.Group, corev1.GroupName},
			Verbs:     strings.Split(verbs, ","), Resources: strings.Fields(resources),
		})
	}
	p.s.Create(t, role, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: p.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: p.Name},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: p.s.Name, Name: p.Name}},
	})
}

// Edits gives the person the cluster's own role edit in the test's namespace.
func (p *Person) Edits(t testing.TB) {
	t.Helper()
	p.s.Create(t, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: p.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: p.s.Name, Name: p.Name}},
	})
}

// Client is what the person's own programs would use.
func (p *Person) Client(t testing.TB) client.Client {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", p.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(config, client.Options{Scheme: p.s.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Command is plumbline as the person would type it; nothing is typed after that.
func (p *Person) Command(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	args = append([]string{"--kubeconfig", p.kubeconfig}, args...)
	return exec.CommandContext(t.Context(), filepath.Join(p.s.Cluster.Bin(), "plumbline"), args...)
}

// Plumbline runs it and returns what it wrote.
func (p *Person) Plumbline(t testing.TB, args ...string) (string, error) {
	t.Helper()
	return output(p.Command(t, args...))
}

// AwaitPeopleAPI waits until the API server passes on what people ask.
func (s *Space) AwaitPeopleAPI(t testing.TB) {
	t.Helper()
	ctx, cancel := s.deadline(t)
	defer cancel()
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(schema.GroupVersionKind{
		Group: "apiregistration.k8s.io", Version: "v1", Kind: "APIServiceList",
	})
	err := s.awaitAll(ctx, list, func(all set) bool {
		u, ok := all[people.APIService].(*unstructured.Unstructured)
		return ok && available(u)
	})
	if err != nil {
		t.Fatalf("waiting for the API for people: %v", err)
	}
}

func available(u *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, each := range conditions {
		if c, ok := each.(map[string]any); ok && c["type"] == "Available" {
			return c["status"] == "True"
		}
	}
	return false
}

// Kubectl is the administrator's.
func (k *Kit) Kubectl(t testing.TB, args ...string) (string, error) {
	t.Helper()
	args = append([]string{"--kubeconfig", k.Cluster.Kubeconfig()}, args...)
	return output(exec.CommandContext(t.Context(), filepath.Join(k.Cluster.Bin(), "kubectl"), args...))
}

func output(cmd *exec.Cmd) (string, error) {
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%w: %s", err, errs.String())
	}
	return out.String(), nil
}
