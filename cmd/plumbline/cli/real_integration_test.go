//go:build integration

package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/people"
	"github.com/plumbline-dev/plumbline/state/server"
	"github.com/plumbline-dev/plumbline/state/store/memory"
)

const (
	system   = "plumbline-system"
	service  = "plumbline-state"
	patience = 60 * time.Second
)

// fullAPI is an API server with an aggregation layer, what deploy/install.yaml grants, and a state server that has the
// rights of its ServiceAccount and no others.
type fullAPI struct {
	t      *testing.T
	config *rest.Config
	admin  client.Client
	states *state.Service
	// stop ends the state server as a SIGTERM does.
	stop func()
}

func startReal(t *testing.T) *fullAPI {
	t.Helper()
	files := frontProxyFiles(t)
	env := &envtest.Environment{
		CRDDirectoryPaths: []string{filepath.Join("..", "..", "..", "deploy", "crds")}, ErrorIfCRDPathMissing: true,
	}
	env.ControlPlane.GetAPIServer().Configure().
		Set("requestheader-client-ca-file", filepath.Join(files, "ca.crt")).
		Set("requestheader-allowed-names", "front-proxy-client").
		Set("requestheader-username-headers", "X-Remote-User").
		Set("requestheader-group-headers", "X-Remote-Group").
		Set("requestheader-extra-headers-prefix", "X-Remote-Extra-").
		Set("proxy-client-cert-file", filepath.Join(files, "client.crt")).
		Set("proxy-client-key-file", filepath.Join(files, "client.key")).
		Set("enable-aggregator-routing", "true")
	config, err := env.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Error(err)
		}
	})
	r := &fullAPI{t: t, config: config}
	if r.admin, err = client.New(config, client.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := v1alpha1.AddToScheme(r.admin.Scheme()); err != nil {
		t.Fatal(err)
	}
	r.install()
	r.serve()
	return r
}

// install makes what deploy/install.yaml says, but for what would need nodes.
func (r *fullAPI) install() {
	r.t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "deploy", "install.yaml"))
	if err != nil {
		r.t.Fatal(err)
	}
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &u.Object); err != nil {
			r.t.Fatal(err)
		}
		if len(u.Object) == 0 || u.GetKind() == "Deployment" || u.GetKind() == "RunnerClass" {
			continue
		}
		if err := r.admin.Create(r.t.Context(), u); err != nil {
			r.t.Fatalf("creating %s %s: %v", u.GetKind(), u.GetName(), err)
		}
	}
}

// serve starts a state server and tells the API server where it is, as a kubelet and an EndpointSlice controller would.
func (r *fullAPI) serve() {
	r.t.Helper()
	t, log, clk := r.t, slog.New(slog.DiscardHandler), clock.RealClock{}
	own := rest.CopyConfig(r.config)
	own.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + system + ":" + service,
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + system, "system:authenticated"},
	}
	c, err := server.NewKubeClient(own)
	if err != nil {
		t.Fatal(err)
	}
	tlsSecret := client.ObjectKey{Namespace: system, Name: "plumbline-state-tls"}
	certs := server.NewCerts(server.CertOptions{
		Client: c, Secret: tlsSecret, DNSNames: []string{service + "." + system + ".svc"}, Clock: clk, Log: log,
	})
	if err := certs.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	cluster, front := server.NewCluster(c, clk, system+":plumbline-controller"), server.NewFrontProxy(c, clk)
	r.states = state.New(state.Options{Store: &memory.Store{}, Pods: cluster, Clock: clk, Log: log})
	srv := server.New(server.Options{
		Service: r.states, Gate: cluster, Reports: cluster, FrontProxy: front, People: cluster,
		Clock: clk, Log: log, Metrics: prometheus.NewRegistry(),
	})
	ip := ownAddress(t)
	listener, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Fatal(err)
	}
	config := certs.TLS()
	config.ClientAuth = tls.RequestClientCert
	served := &http.Server{Handler: srv.Handler(), ReadHeaderTimeout: time.Minute}
	go func() { _ = served.Serve(tls.NewListener(listener, config)) }()
	t.Cleanup(func() { _ = served.Close() })
	r.ready(ip, listener.Addr().(*net.TCPAddr).Port)

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	registrar := server.NewRegistrar(server.Registration{
		Client: c, Service: client.ObjectKey{Namespace: system, Name: service}, Port: 8443, Pod: "one",
		Secret: tlsSecret, Owner: service, Front: front, Clock: clk, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	go func() {
		defer close(ended)
		registrar.Keep(ctx)
	}()
	r.stop = func() {
		cancel()
		<-ended
	}
	t.Cleanup(r.stop)
}

func (r *fullAPI) ready(ip string, port int) {
	r.t.Helper()
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: system, Name: service + "-1", Labels: map[string]string{discoveryv1.LabelServiceName: service},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints: []discoveryv1.Endpoint{{
			Addresses: []string{ip}, Conditions: discoveryv1.EndpointConditions{Ready: new(true)},
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: system, Name: "one"},
		}},
		Ports: []discoveryv1.EndpointPort{{Name: new("https"), Port: new(int32(port)), Protocol: new(corev1.ProtocolTCP)}},
	}
	if err := r.admin.Create(r.t.Context(), slice); err != nil {
		r.t.Fatal(err)
	}
}

// ownAddress is one that an EndpointSlice may name: not a loopback's.
func ownAddress(t *testing.T) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	t.Fatal("this machine has no address but the loopback's: an EndpointSlice can't name that")
	return ""
}

func (r *fullAPI) registration() (*unstructured.Unstructured, error) {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiregistration.k8s.io", Version: "v1", Kind: "APIService"})
	return u, r.admin.Get(r.t.Context(), client.ObjectKey{Name: people.APIService}, u)
}

// await waits until something holds, which is asked again and again: aggregated APIs can't be watched for.
func (r *fullAPI) await(what string, holds func(ctx context.Context) (bool, error)) {
	r.t.Helper()
	if err := wait.PollUntilContextTimeout(r.t.Context(), 250*time.Millisecond, patience, true, holds); err != nil {
		u, _ := r.registration()
		r.t.Fatalf("waiting until %s: %v\n%v", what, err, u.Object["status"])
	}
}

func (r *fullAPI) awaitAvailable() {
	r.t.Helper()
	r.await("the API for people is available", func(context.Context) (bool, error) {
		u, err := r.registration()
		if err != nil {
			return false, client.IgnoreNotFound(err)
		}
		text, err := u.MarshalJSON()
		return err == nil && available(text), err
	})
}

func available(apiService []byte) bool {
	var told struct {
		Status struct{ Conditions []metav1.Condition }
	}
	return yaml.Unmarshal(apiService, &told) == nil && len(told.Status.Conditions) > 0 &&
		told.Status.Conditions[0].Type == "Available" && told.Status.Conditions[0].Status == metav1.ConditionTrue
}

// kubeconfig is the administrator's; --as makes it anybody's.
func (r *fullAPI) kubeconfig() string {
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters["c"] = &clientcmdapi.Cluster{Server: r.config.Host, CertificateAuthorityData: r.config.CAData}
	cfg.AuthInfos["c"] = &clientcmdapi.AuthInfo{
		ClientCertificateData: r.config.CertData, ClientKeyData: r.config.KeyData,
	}
	cfg.Contexts["c"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "c", Namespace: "default"}
	cfg.CurrentContext = "c"
	path := filepath.Join(r.t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*cfg, path); err != nil {
		r.t.Fatal(err)
	}
	return path
}

func (r *fullAPI) plumbline(stdin string, args ...string) result {
	var out, err bytes.Buffer
	c := New("plumbline", Surroundings{
		In: strings.NewReader(stdin), Out: &out, Err: &err, Terminal: true, Clock: clock.RealClock{},
	})
	c.SetArgs(append([]string{"--kubeconfig", r.kubeconfig()}, args...))
	failed := c.ExecuteContext(r.t.Context())
	return result{out.String(), err.String(), failed}
}

func (r *fullAPI) create(objects ...client.Object) {
	r.t.Helper()
	for _, o := range objects {
		o.SetNamespace("default")
		if err := r.admin.Create(r.t.Context(), o); err != nil {
			r.t.Fatalf("creating %T: %v", o, err)
		}
	}
}

// grant lets a user do something, as a Role in docs/people.md does.
func (r *fullAPI) grant(user string, rules ...rbacv1.PolicyRule) {
	name := metav1.ObjectMeta{Name: user}
	for i := range rules {
		rules[i].APIGroups = []string{"plumbline.dev"}
	}
	r.create(&rbacv1.Role{ObjectMeta: name, Rules: rules}, &rbacv1.RoleBinding{
		ObjectMeta: name, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: user},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
	})
}
