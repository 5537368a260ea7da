//go:build integration

// What is tested here needs a real API server: names and sizes that it takes, Create's atomicity, tokens bound to Pods.
package state_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/server"
	"github.com/plumbline-dev/plumbline/state/store/kube"
	"github.com/plumbline-dev/plumbline/state/store/storetest"
)

var config *rest.Config

func TestMain(m *testing.M) {
	code, err := withCluster(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func withCluster(run func() int) (int, error) {
	env := &envtest.Environment{
		CRDDirectoryPaths: []string{filepath.Join("..", "deploy", "crds")}, ErrorIfCRDPathMissing: true,
	}
	var err error
	if config, err = env.Start(); err != nil {
		return 1, fmt.Errorf("starting the API server: %w", err)
	}
	code := run()
	if err := env.Stop(); err != nil {
		return 1, fmt.Errorf("stopping the API server: %w", err)
	}
	return code, nil
}

func kubeClient(t testing.TB) client.Client {
	t.Helper()
	c, err := server.NewKubeClient(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newNamespace makes one of a random name: an API server without controllers never gets rid of it.
func newNamespace(t testing.TB) string {
	t.Helper()
	ns, err := kubernetes.NewForConfigOrDie(config).CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return ns.Name
}

func create(t testing.TB, objects ...client.Object) {
	t.Helper()
	cfg := rest.CopyConfig(config)
	cfg.QPS = -1
	c := kubeClient(t)
	for _, o := range objects {
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatalf("creating %T: %v", o, err)
		}
	}
}

// runOf makes a Run of the Workspace with its Pod, as the controller does.
func runOf(t testing.TB, ws *v1alpha1.Workspace, name string) (*v1alpha1.Run, *corev1.Pod) {
	t.Helper()
	run := &v1alpha1.Run{
		ObjectMeta: metav1.ObjectMeta{Namespace: ws.Namespace, Name: name},
		Spec:       v1alpha1.RunSpec{WorkspaceName: ws.Name},
	}
	create(t, run)
	patchStatus(t, run, func() { run.Status.PodName = name })
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: ws.Namespace, Name: name,
			OwnerReferences: []metav1.OwnerReference{
				*metav1.NewControllerRef(run, v1alpha1.GroupVersion.WithKind("Run")),
			},
		},
		Spec: corev1.PodSpec{
			ServiceAccountName: "runner", AutomountServiceAccountToken: ptr.To(false),
			Containers: []corev1.Container{{Name: "runner", Image: "runner"}},
		},
	}
	create(t, pod)
	return run, pod
}

func patchStatus(t testing.TB, run *v1alpha1.Run, change func()) {
	t.Helper()
	before := run.DeepCopy()
	change()
	if err := kubeClient(t).Status().Patch(t.Context(), run, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
}

func newWorkspace(t testing.TB, namespace, name string) *v1alpha1.Workspace {
	t.Helper()
	ws := &v1alpha1.Workspace{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.WorkspaceSpec{Source: v1alpha1.Source{
			Inline: &v1alpha1.InlineSource{Files: map[string]string{"main.tf": "# nothing"}},
		}},
	}
	create(t, ws)
	return ws
}

// token asks for one as the kubelet does: bound to the Pod.
func token(t testing.TB, namespace, account, audience string, pod *corev1.Pod) string {
	t.Helper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{audience}}}
	if pod != nil {
		request.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{
			Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID,
		}
	}
	answer, err := kubernetes.NewForConfigOrDie(config).CoreV1().ServiceAccounts(namespace).
		CreateToken(t.Context(), account, request, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status.Token
}

func account(namespace, name string) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
}

type anybody struct{}

func (anybody) Gone(context.Context, state.Holder) (bool, error) { return false, nil }

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestKubeStoreConformance(t *testing.T) {
	c := kubeClient(t)
	storetest.Run(t, func(t *testing.T) state.Store { return kube.New(c, newNamespace(t)) })
}

var _ = job.StateAudience
