package kit

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/e2e/install"
	"github.com/plumbline-dev/plumbline/internal/tools"
)

// secondRelease and its namespace are those of another installation of the chart.
const secondRelease, secondNamespace = "second", "plumbline-second"

// SecondRelease installs the chart once more, beside the first, for as long as the test runs.
func (k *Kit) SecondRelease(t testing.TB) {
	t.Helper()
	root, err := tools.Checkout()
	if err != nil {
		t.Fatal(err)
	}
	values := filepath.Join(t.TempDir(), "values.json")
	first := k.helm(t, "get", "values", install.Release, "-n", System, "-o", "json")
	if err := os.WriteFile(values, first, 0o600); err != nil {
		t.Fatal(err)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: secondNamespace, Labels: restricted}}
	if err := k.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		k.helm(t, "uninstall", secondRelease, "-n", secondNamespace, "--ignore-not-found", "--wait")
		ctx := After(t)
		if err := k.Delete(ctx, namespace); err != nil {
			t.Error(err)
		}
		if err := k.gone(ctx, namespace); err != nil {
			t.Errorf("the second release's namespace stays: %v", err)
		}
	})
	k.helm(t, "install", secondRelease, filepath.Join(root, "deploy", "chart"), "-n", secondNamespace, "--skip-crds",
		"-f", values, "--set", "runnerClass.create=false,state.peopleAPI.enabled=false",
		"--set", "controller.replicas=1,state.replicas=1",
		"--wait", "--timeout", "2m")
}

// helm runs Helm against the cluster and returns what it says.
func (k *Kit) helm(t testing.TB, args ...string) []byte {
	t.Helper()
	ctx := After(t)
	binary, err := tools.Path(ctx, k.log, "helm", "")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+k.Cluster.Kubeconfig())
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("helm %s: %v\n%s", args[0], err, said.String())
	}
	return out.Bytes()
}
