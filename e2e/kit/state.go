package kit

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/internal/tools"
)

const (
	stateService = "plumbline-state"
	stateSecret  = "plumbline-state-tls"
	statePort    = 8443
)

// StateDeployment is the state service's.
const StateDeployment = stateService

// Components of Plumbline that can be killed.
const (
	Controller = "controller"
	State      = "state"
)

// StateService is a connection to the state service, as a Pod has it.
type StateService struct {
	http.Client
	base string
}

// StateService forwards a port to a state server for as long as the test runs.
func (k *Kit) StateService(t testing.TB) *StateService {
	t.Helper()
	pods := k.Component(t, State)
	var secret corev1.Secret
	if err := k.Get(t.Context(), client.ObjectKey{Namespace: System, Name: stateSecret}, &secret); err != nil {
		t.Fatalf("reading the CA: %v", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(secret.Data["ca.crt"])
	local := k.forward(t, pods[0].Name)
	host := stateService + "." + System + ".svc"
	return &StateService{
		Client: http.Client{Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: host, MinVersion: tls.VersionTLS12},
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, local)
			},
		}},
		base: fmt.Sprintf("https://%s:%d/v1/workspaces/", host, statePort),
	}
}

var forwarded = regexp.MustCompile(`Forwarding from (127\.0\.0\.1:\d+)`)

// forward is kubectl's own, so that the product's go.mod needs no library for it. It returns the local address.
func (k *Kit) forward(t testing.TB, pod string) string {
	t.Helper()
	binary, err := tools.Path(t.Context(), k.log, "kubernetes", "kubectl")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, binary, "--kubeconfig", k.Cluster.Kubeconfig(), "--namespace", System,
		"port-forward", "pod/"+pod, ":"+strconv.Itoa(statePort))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("forwarding a port: %v", err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
	})
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if found := forwarded.FindStringSubmatch(lines.Text()); found != nil {
			return found[1]
		}
	}
	t.Fatal("forwarding a port: kubectl ended")
	return ""
}

// Request is one for the state service; the path begins with namespace and Workspace.
type Request struct{ Method, Path, Token, Body string }

// Do sends a request and returns its answer's status and body.
func (s *StateService) Do(t testing.TB, r Request) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), r.Method, s.base+r.Path, strings.NewReader(r.Body))
	if err != nil {
		t.Fatal(err)
	}
	if r.Token != "" {
		req.Header.Set("Authorization", "Bearer "+r.Token)
	}
	res, err := s.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// PodToken is what the kubelet gives a runner Pod: a token that is bound to it. Without a Pod it is bound to nothing.
func (s *Space) PodToken(t testing.TB, pod *corev1.Pod, audience string) string {
	t.Helper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{audience}}}
	if pod != nil {
		request.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{
			APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID,
		}
	}
	accounts := s.Set.CoreV1().ServiceAccounts(s.Name)
	token, err := accounts.CreateToken(t.Context(), "default", request, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("making a token: %v", err)
	}
	return token.Status.Token
}

// ExpiredToken is what PodToken made an hour before it ended, ten minutes ago: signed by the cluster's own key.
func (s *Space) ExpiredToken(t testing.TB, pod *corev1.Pod) string {
	t.Helper()
	claims := jwt.MapClaims{}
	fresh, _, err := jwt.NewParser().ParseUnverified(s.PodToken(t, pod, StateAudience), claims)
	if err != nil {
		t.Fatalf("reading a token: %v", err)
	}
	pem, err := os.ReadFile(filepath.Join(filepath.Dir(s.Cluster.Kubeconfig()), "pki", "serviceaccount.key"))
	if err != nil {
		t.Fatalf("reading the cluster's key: %v", err)
	}
	key, err := jwt.ParseRSAPrivateKeyFromPEM(pem)
	if err != nil {
		t.Fatalf("reading the cluster's key: %v", err)
	}
	ended := time.Now().Add(-10 * time.Minute)
	began := ended.Add(-time.Hour).Unix()
	claims["exp"], claims["iat"], claims["nbf"] = ended.Unix(), began, began
	token := jwt.NewWithClaims(fresh.Method, claims)
	token.Header["kid"] = fresh.Header["kid"]
	signed, err := token.SignedString(key)
	if err != nil {
		t.Fatalf("signing a token: %v", err)
	}
	return signed
}

// StateAudience is the audience that the state service wants.
const StateAudience = job.StateAudience
