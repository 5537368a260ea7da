//go:build integration

// What is tested here needs a real API server: names and sizes that it takes, Create's atomicity, tokens bound to Pods.
package state_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/internal/testkit"
	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/server"
	"github.com/plumbline-dev/plumbline/state/store/kube"
)

var config *rest.Config

func TestMain(m *testing.M) {
	code := 1
	err := testkit.SideBySide(10)
	if err == nil {
		code, err = withCluster(m.Run)
	}
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
		Spec: v1alpha1.RunSpec{
			WorkspaceName: ws.Name, Operation: v1alpha1.OperationApply,
			Trigger: v1alpha1.Trigger{Kind: v1alpha1.TriggerManual}, Attempt: 1,
		},
	}
	create(t, run)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: ws.Namespace, Name: name,
			OwnerReferences: []metav1.OwnerReference{
				*metav1.NewControllerRef(run, v1alpha1.GroupVersion.WithKind("Run")),
			},
		},
		Spec: corev1.PodSpec{
			ServiceAccountName: "runner", AutomountServiceAccountToken: new(false),
			Containers: []corev1.Container{{Name: "runner", Image: "runner"}},
		},
	}
	create(t, pod)
	patchStatus(t, run, func() {
		run.Status.PodName, run.Status.PodUID, run.Status.WorkspaceUID = name, pod.UID, ws.UID
	})
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

// podToken asks for a token as the kubelet does: bound to the Pod.
func podToken(t testing.TB, pod *corev1.Pod, audience string) string {
	t.Helper()
	return token(t, client.ObjectKey{Namespace: pod.Namespace, Name: pod.Spec.ServiceAccountName},
		authenticationv1.TokenRequestSpec{
			Audiences: []string{audience},
			BoundObjectRef: &authenticationv1.BoundObjectReference{
				Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID,
			},
		})
}

func token(t testing.TB, account client.ObjectKey, spec authenticationv1.TokenRequestSpec) string {
	t.Helper()
	answer, err := kubernetes.NewForConfigOrDie(config).CoreV1().ServiceAccounts(account.Namespace).
		CreateToken(t.Context(), account.Name, &authenticationv1.TokenRequest{Spec: spec}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status.Token
}

// newAccount makes a ServiceAccount, which the service's own client knows nothing of.
func newAccount(t testing.TB, namespace, name string) {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	_, err := kubernetes.NewForConfigOrDie(config).CoreV1().ServiceAccounts(namespace).
		Create(t.Context(), account, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// system is a running state service: its own namespace, its certificate, and two servers side by side over one store.
type system struct {
	namespace string
	urls      []string
	caFile    string
}

const controllerAccount = "plumbline-controller"

func startSystem(t testing.TB) *system {
	t.Helper()
	s := &system{namespace: newNamespace(t), caFile: filepath.Join(t.TempDir(), "ca.crt")}
	newAccount(t, s.namespace, controllerAccount)
	for range 2 {
		s.urls = append(s.urls, s.startServer(t))
	}
	secret := &corev1.Secret{}
	if err := kubeClient(t).Get(t.Context(), s.tlsSecret(), secret); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.caFile, secret.Data["ca.crt"], 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *system) tlsSecret() client.ObjectKey {
	return client.ObjectKey{Namespace: s.namespace, Name: "plumbline-state-tls"}
}

func (s *system) startServer(t testing.TB) string {
	t.Helper()
	c, clk, log := kubeClient(t), clock.RealClock{}, slog.New(slog.DiscardHandler)
	certs := server.NewCerts(server.CertOptions{
		Client: c, Secret: s.tlsSecret(), DNSNames: []string{"localhost"}, Clock: clk, Log: log,
	})
	if err := certs.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	cluster := server.NewCluster(c, clk, s.namespace+":"+controllerAccount)
	service := state.New(state.Options{Store: kube.New(c, s.namespace), Pods: cluster, Clock: clk, Log: log})
	go service.Maintain(t.Context())
	srv := server.New(server.Options{
		Service: service, Gate: cluster, Reports: cluster, Clock: clk, Log: log, Metrics: prometheus.NewRegistry(),
	})
	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	served := &http.Server{Handler: srv.Handler(), ReadHeaderTimeout: time.Minute}
	go func() { _ = served.Serve(tls.NewListener(listener, certs.TLS())) }()
	t.Cleanup(func() { _ = served.Close() })
	return fmt.Sprintf("https://localhost:%d", listener.Addr().(*net.TCPAddr).Port)
}

// caller is a runner Pod's way to the service.
type caller struct {
	http  *http.Client
	token string
	base  string
}

func (s *system) caller(t testing.TB, replica int, token string) caller {
	t.Helper()
	ca, err := os.ReadFile(s.caFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(transport.CloseIdleConnections)
	return caller{http: &http.Client{Transport: transport}, token: token, base: s.urls[replica] + "/v1/workspaces/"}
}

// do makes a request, such as "GET ns/ws/state", and returns the status and the body of the answer.
func (c caller) do(t testing.TB, request string, body []byte) (int, []byte) {
	t.Helper()
	method, path, _ := strings.Cut(request, " ")
	req, err := http.NewRequestWithContext(t.Context(), method, c.base+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := c.http.Do(req)
	if err != nil {
		t.Errorf("%s: %v", request, err)
		return 0, nil
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("%s: %v", request, err)
	}
	return resp.StatusCode, answer
}

func (c caller) want(t testing.TB, status int, request string, body ...byte) []byte {
	t.Helper()
	got, answer := c.do(t, request, body)
	if got != status {
		t.Errorf("%s: got %d %s, want %d", request, got, answer, status)
	}
	return answer
}
