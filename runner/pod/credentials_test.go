package pod

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/internal/testkit"
)

func vaultInput(w *testkit.WorkspaceBuilder) Input {
	in := input()
	in.Workspace, in.Class = w.Obj(), testkit.VaultClass("default")
	return in
}

// tokens are the audiences of a Pod's tokens by their mounts' paths.
func tokens(p *corev1.Pod) map[string]string {
	audiences := map[string]string{}
	for _, v := range p.Spec.Volumes {
		if v.Projected != nil {
			audiences[v.Name] = v.Projected.Sources[0].ServiceAccountToken.Audience
		}
	}
	found := map[string]string{}
	for _, m := range p.Spec.Containers[0].VolumeMounts {
		if audience, ok := audiences[m.Name]; ok && m.ReadOnly {
			found[m.MountPath] = audience
		}
	}
	return found
}

func TestBuild_TokensAreMountedWhereTheyAreNeeded(t *testing.T) {
	const state = "/var/run/secrets/plumbline/state"
	plain := testkit.Workspace("vpn")
	sts := testkit.Workspace("vpn").With(func(w *v1alpha1.Workspace) {
		w.Spec.Credentials = []v1alpha1.Credential{
			{Name: "sts", ServiceAccountToken: &v1alpha1.ServiceAccountToken{Audience: "sts.amazonaws.com", Env: "F"}},
		}
	})
	for _, test := range []struct {
		name      string
		workspace *testkit.WorkspaceBuilder
		want      map[string]string
	}{
		{"nothing is asked for", plain, map[string]string{state: "plumbline-state"}},
		{"Vault", testkit.Workspace("vpn").Vault("cloud", "p"),
			map[string]string{state: "plumbline-state", "/var/run/secrets/plumbline/vault": "vault"}},
		{"a cloud", sts,
			map[string]string{state: "plumbline-state", "/var/run/secrets/plumbline/tokens/sts": "sts.amazonaws.com"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, tokens(Build(vaultInput(test.workspace)))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestBuild_ParamsOfVault(t *testing.T) {
	in := vaultInput(testkit.Workspace("vpn").Vault("cloud", "p"))
	in.Class.Spec.Vault.Namespace, in.Class.Spec.Vault.CABundle = "team", "PEM"
	p := Build(in)
	want := &job.Vault{
		Address: "https://vault:8200", AuthPath: "auth/jwt", Namespace: "team", Role: "runner", CA: "PEM",
		Margin: 90 * time.Second, MaxTTL: time.Duration(*p.Spec.ActiveDeadlineSeconds) * time.Second,
	}
	if diff := cmp.Diff(want, paramsOf(t, p).Vault); diff != "" {
		t.Error(diff)
	}
	in.Class.Spec.Vault.Margin = &metav1.Duration{Duration: time.Hour}
	if got := paramsOf(t, Build(in)).Vault.Margin; got != time.Hour {
		t.Errorf("the class's margin is an hour, the Pod's %s", got)
	}
	if got := paramsOf(t, Build(vaultInput(testkit.Workspace("vpn")))).Vault; got != nil {
		t.Errorf("nothing is asked for, and the Pod is told of %+v", got)
	}
}

// TestBuild_TimeForVault: what fetches and revokes has its time, and only where there is something to fetch.
func TestBuild_TimeForVault(t *testing.T) {
	plain := Build(vaultInput(testkit.Workspace("vpn")))
	vault := Build(vaultInput(testkit.Workspace("vpn").Vault("c", "p")))
	if more := *vault.Spec.ActiveDeadlineSeconds - *plain.Spec.ActiveDeadlineSeconds; more != 30+15 {
		t.Errorf("it may take %d s longer", more)
	}
	if more := *vault.Spec.TerminationGracePeriodSeconds - *plain.Spec.TerminationGracePeriodSeconds; more != 15 {
		t.Errorf("its end may take %d s longer", more)
	}
}

// TestBuild_GrantsAreInMemory: what Vault gives in files touches no disk.
func TestBuild_GrantsAreInMemory(t *testing.T) {
	for name, change := range map[string]func(*v1alpha1.VaultCredential){
		"environment": func(*v1alpha1.VaultCredential) {},
		"files":       func(v *v1alpha1.VaultCredential) { v.Files = map[string]string{"f": "x"} },
		"variables":   func(v *v1alpha1.VaultCredential) { v.Variables = map[string]string{"v": "x"} },
	} {
		w := testkit.Workspace("vpn").Vault("c", "p")
		p := Build(vaultInput(w.With(func(w *v1alpha1.Workspace) { change(w.Spec.Credentials[0].Vault) })))
		inMemory := map[string]bool{}
		for _, v := range p.Spec.Volumes {
			inMemory[v.Name] = v.EmptyDir != nil && v.EmptyDir.Medium == corev1.StorageMediumMemory
		}
		mounted := false
		for _, m := range p.Spec.Containers[0].VolumeMounts {
			if strings.HasPrefix(job.GrantedFiles, m.MountPath) {
				mounted = inMemory[m.Name]
			}
		}
		if mounted != (name != "environment") {
			t.Errorf("%s: a folder in memory is mounted: %v", name, mounted)
		}
	}
}

// TestBuild_ASecretsKeysAreChosen: and each is mounted as the environment variable that it becomes.
func TestBuild_ASecretsKeysAreChosen(t *testing.T) {
	for _, test := range []struct {
		keys map[string]string
		want []corev1.KeyToPath
	}{
		{nil, nil},
		{map[string]string{"PGUSER": "username", "PGPASSWORD": "pass.word"},
			[]corev1.KeyToPath{{Key: "pass.word", Path: "PGPASSWORD"}, {Key: "username", Path: "PGUSER"}}},
	} {
		in := input()
		in.Workspace = testkit.Workspace("vpn").With(func(w *v1alpha1.Workspace) {
			ref := &v1alpha1.SecretRef{Name: "db", Keys: test.keys}
			w.Spec.Credentials = []v1alpha1.Credential{{Name: "db", SecretRef: ref}}
		}).Obj()
		var got []corev1.KeyToPath
		for _, v := range Build(in).Spec.Volumes {
			if v.Secret != nil && v.Secret.SecretName == "db" {
				got = v.Secret.Items
			}
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("mounted keys (-want +got):\n%s", diff)
		}
	}
}
