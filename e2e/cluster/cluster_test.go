//go:build e2e

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
)

const (
	probeImage = "plumbline.test/probe:1"
	patience   = 2 * time.Minute
)

// TestMain leaves a cluster running if one ran before, and none if none did.
func TestMain(m *testing.M) {
	ctx := context.Background()
	_, before := Find(ctx)
	code := m.Run()
	var err error
	if before == nil {
		_, err = Up(ctx, Options{Log: printLine})
	} else {
		err = Down(ctx, Options{Log: printLine})
	}
	if err != nil {
		printLine("leaving the machine as it was: %v", err)
		code = 1
	}
	os.Exit(code)
}

func printLine(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func bringUp(ctx context.Context, t *testing.T) (*Cluster, kubernetes.Interface) {
	t.Helper()
	c, err := Up(ctx, Options{Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.LoadProgram(ctx, probeImage, "./e2e/cluster/testdata/probe"); err != nil {
		t.Fatal(err)
	}
	api, err := client(c.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	return c, api
}

func makeNamespace(ctx context.Context, t *testing.T, api kubernetes.Interface, openshift bool) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "cluster-test-",
		Labels:       map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}
	if openshift {
		ns.Labels["e2e.plumbline.dev/openshift"] = "true"
		ns.Annotations = map[string]string{"openshift.io/sa.scc.uid-range": "1000730000/10000"}
	}
	ns, err := api.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = api.CoreV1().Namespaces().Delete(context.WithoutCancel(ctx), ns.Name, metav1.DeleteOptions{})
	})
	err = eventually(ctx, func(ctx context.Context) error {
		_, err := api.CoreV1().ServiceAccounts(ns.Name).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return ns.Name
}

// restricted is a Pod that PodSecurity's strictest level lets through.
func restricted(namespace, name string, args ...string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{
			RestartPolicy:                 corev1.RestartPolicyNever,
			ActiveDeadlineSeconds:         new(int64(90)),
			TerminationGracePeriodSeconds: new(int64(1)),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot:   new(true),
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				Name: "probe", Image: probeImage, Args: args,
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: new(false),
					ReadOnlyRootFilesystem:   new(true),
					Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
			}},
		},
	}
}

func create(ctx context.Context, t *testing.T, api kubernetes.Interface, pod *corev1.Pod) {
	t.Helper()
	if _, err := api.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// output waits for a Pod to succeed and returns its log, which comes through the kubelet.
func output(ctx context.Context, t *testing.T, api kubernetes.Interface, pod string) string {
	t.Helper()
	namespace, name, _ := strings.Cut(pod, "/")
	var phase corev1.PodPhase
	err := eventually(ctx, func(ctx context.Context) error {
		pod, err := api.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if phase = pod.Status.Phase; phase != corev1.PodSucceeded && phase != corev1.PodFailed {
			return fmt.Errorf("Pod %s is %s: %+v", name, phase, pod.Status.ContainerStatuses)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := api.CoreV1().Pods(namespace).GetLogs(name, &corev1.PodLogOptions{}).Stream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	text, err := io.ReadAll(stream)
	if err != nil {
		t.Fatal(err)
	}
	if phase != corev1.PodSucceeded {
		t.Fatalf("Pod %s is %s: %s", name, phase, text)
	}
	return string(text)
}

func TestAPodRunsUnderAnArbitraryUser(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, api := bringUp(ctx, t)
	ns := makeNamespace(ctx, t, api, false)
	pod := restricted(ns, "fixed", "id")
	pod.Spec.SecurityContext.RunAsUser = new(int64(1000730000))
	create(ctx, t, api, pod)
	if got := output(ctx, t, api, ns+"/fixed"); got != "uid=1000730000 gid=0\n" {
		t.Errorf("the Pod printed %q", got)
	}
	pod = restricted(ns, "privileged", "id")
	pod.Spec.Containers[0].SecurityContext.AllowPrivilegeEscalation = new(true)
	if _, err := api.CoreV1().Pods(ns).Create(ctx, pod, metav1.CreateOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a Pod that PodSecurity forbids: %v", err)
	}
}

func TestServicesAndNamesWorkFromPods(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, api := bringUp(ctx, t)
	ns := makeNamespace(ctx, t, api, true)
	create(ctx, t, api, restricted(ns, "web", "serve"))
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": "web"},
			Ports:    []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
		},
	}
	if _, err := api.CoreV1().Services(ns).Create(ctx, service, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	create(ctx, t, api, restricted(ns, "get", "get", "http://web."+ns+".svc/"))
	if got := output(ctx, t, api, ns+"/get"); !strings.Contains(got, "hello from a Pod") {
		t.Errorf("the Pod printed %q", got)
	}
}

func TestANamespaceCanBeLikeOpenShifts(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, api := bringUp(ctx, t)
	ns := makeNamespace(ctx, t, api, true)
	create(ctx, t, api, restricted(ns, "any", "id"))
	if got := output(ctx, t, api, ns+"/any"); got != "uid=1000730000 gid=0\n" {
		t.Errorf("the Pod printed %q", got)
	}
	for name, change := range map[string]func(*corev1.Pod){
		"pod-user":       func(p *corev1.Pod) { p.Spec.SecurityContext.RunAsUser = new(int64(1000)) },
		"pod-group":      func(p *corev1.Pod) { p.Spec.SecurityContext.FSGroup = new(int64(1000)) },
		"container-user": func(p *corev1.Pod) { p.Spec.Containers[0].SecurityContext.RunAsUser = new(int64(1000)) },
	} {
		pod := restricted(ns, name, "id")
		change(pod)
		_, err := api.CoreV1().Pods(ns).Create(ctx, pod, metav1.CreateOptions{})
		if err == nil || !strings.Contains(err.Error(), "security context constraint") {
			t.Errorf("%s outside the range: %v", name, err)
		}
	}
}

func TestTokensOfAnyAudienceAreIssuedAndTheIssuerIsDiscovered(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, api := bringUp(ctx, t)
	token, err := api.CoreV1().ServiceAccounts("default").CreateToken(ctx, "default",
		tokenRequest("plumbline-state"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	review, err := api.AuthenticationV1().TokenReviews().Create(ctx,
		tokenReview(token.Status.Token, "plumbline-state"), metav1.CreateOptions{})
	if err != nil || !review.Status.Authenticated {
		t.Errorf("reviewing a token of a free audience: %v %+v", err, review.Status)
	}
	discovery, err := api.Discovery().RESTClient().Get().AbsPath("/.well-known/openid-configuration").DoRaw(ctx)
	if err != nil || !strings.Contains(string(discovery), `"issuer":"`+apiServer+`"`) {
		t.Errorf("discovering the issuer: %v %s", err, discovery)
	}
}

func TestComponentsFailAndComeBack(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, api := bringUp(ctx, t)
	if err := c.StopComponent(ctx, "kube-apiserver"); err != nil {
		t.Fatal(err)
	}
	if _, err := api.Discovery().ServerVersion(); err == nil {
		t.Error("the stopped API server answers")
	}
	if err := c.StartComponent(ctx, "kube-apiserver"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kubelet", "containerd"} {
		if err := c.KillComponent(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := waitReady(ctx, c.layout); err != nil {
		t.Fatal(err)
	}
}

// TestNothingIsLeftBehind ends a cluster in both ways, with Pods running: on request, and after its supervisor died.
func TestNothingIsLeftBehind(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	for name, end := range map[string]func(*testing.T){
		"ended":   func(*testing.T) {},
		"crashed": killSupervisor,
	} {
		t.Run(name, func(t *testing.T) {
			c, api := bringUp(ctx, t)
			ns := makeNamespace(ctx, t, api, true)
			create(ctx, t, api, restricted(ns, "web", "serve"))
			create(ctx, t, api, restricted(ns, "get", "id"))
			output(ctx, t, api, ns+"/get")
			sockets := shimSockets()
			if len(sockets) == 0 {
				t.Error("no shim runs, though a Pod does")
			}
			end(t)
			if err := c.Down(ctx); err != nil {
				t.Fatal(err)
			}
			assertNoTraces(t, sockets)
		})
	}
}

func killSupervisor(t *testing.T) {
	t.Helper()
	who, ok := running(t.Context())
	if !ok {
		t.Fatal("no cluster runs")
	}
	supervisor, err := os.FindProcess(who.PID)
	if err != nil {
		t.Fatal(err)
	}
	if err := supervisor.Kill(); err != nil {
		t.Fatal(err)
	}
}

func assertNoTraces(t *testing.T, sockets []string) {
	t.Helper()
	if pids := ourProcesses(); len(pids) > 0 {
		t.Errorf("processes are left: %v", pids)
	}
	if mounts, err := ourMounts(); err != nil || len(mounts) > 0 {
		t.Errorf("mounts are left: %v %v", mounts, err)
	}
	patterns := []string{
		"/sys/class/net/" + bridge, runFolder, dataFolder,
		"/var/lib/cni/results/" + nodeName + "-*", "/var/log/containers/*_cluster-test-*",
	}
	for _, pattern := range slices.Concat(patterns, cgroupRoots(), sockets) {
		if found, err := filepath.Glob(pattern); err != nil || len(found) > 0 {
			t.Errorf("left behind: %v %v", found, err)
		}
	}
	veths, _ := filepath.Glob("/sys/class/net/veth*")
	for _, veth := range veths {
		if !exists(filepath.Join(veth, "master")) { // whose bridge is gone
			t.Errorf("left behind: %s", veth)
		}
	}
	saved, err := command(t.Context(), nil, "iptables-save")
	if err != nil || undoRules(saved) != "" {
		t.Errorf("packet rules are left: %v\n%s", err, undoRules(saved))
	}
}

func TestAnotherCheckoutIsRefused(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	bringUp(ctx, t)
	other := t.TempDir()
	mod := []byte("module github.com/plumbline-dev/plumbline\n")
	if err := os.WriteFile(filepath.Join(other, "go.mod"), mod, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(other)
	_, upErr := Up(ctx, Options{})
	downErr := Down(ctx, Options{})
	for _, err := range []error{upErr, downErr} {
		if !errors.Is(err, ErrElsewhere) {
			t.Errorf("from another checkout: %v, want ErrElsewhere", err)
		}
	}
}

func TestANamedClusterIsUsedAndNeverTouched(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ours, api := bringUp(ctx, t)
	named := filepath.Join(t.TempDir(), "kubeconfig")
	text, err := os.ReadFile(ours.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(named, text, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PLUMBLINE_KUBECONFIG", named)
	c, err := Up(ctx, Options{Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.KillComponent(ctx, "etcd"); !errors.Is(err, ErrNotOurs) {
		t.Errorf("killing a component of a named cluster: %v, want ErrNotOurs", err)
	}
	if err := c.Down(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := api.Discovery().ServerVersion(); err != nil {
		t.Errorf("the named cluster after Down: %v", err)
	}
	t.Setenv("PLUMBLINE_KUBECONFIG", "")
	again, err := Up(ctx, Options{Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := answers(ctx, again.Kubeconfig()); err != nil {
		t.Errorf("our own cluster, after another was named: %v", err)
	}
}
