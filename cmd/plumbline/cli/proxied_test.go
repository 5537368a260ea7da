package cli

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/people"
	"github.com/plumbline-dev/plumbline/state/server"
	"github.com/plumbline-dev/plumbline/state/store/memory"
)

const (
	push1 = `{"version":4,"serial":1,"lineage":"l","outputs":{}}`
	push2 = `{"version":4,"serial":2,"lineage":"l","outputs":{}}`
)

// frontProxyFiles makes the API server's certificate for what it passes on, and the CA for that alone.
func frontProxyFiles(t *testing.T) (folder string) {
	t.Helper()
	folder = t.TempDir()
	write := func(name, kind string, der []byte) {
		text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	template := func(name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}
	}
	ca, leaf := template("ca"), template("front-proxy-client")
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	caKey, err1 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	key, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	caDER, err3 := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	der, err4 := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	keyDER, err5 := x509.MarshalECPrivateKey(key)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		t.Fatal(err)
	}
	write("ca.crt", "CERTIFICATE", caDER)
	write("client.crt", "CERTIFICATE", der)
	write("client.key", "EC PRIVATE KEY", keyDER)
	return folder
}

// cluster answers the state server's questions: alice may do everything, others nothing.
type cluster struct{ server.Gate }

func (cluster) May(_ context.Context, user authenticationv1.UserInfo, a server.Asked) error {
	if user.Username != "alice" {
		return fmt.Errorf("%w: user %q needs the right to something of %s", server.ErrForbidden, user.Username, a.Name)
	}
	return nil
}

func (cluster) Run(_ context.Context, _, name string) (server.Run, error) {
	return server.Run{UID: "uid-" + name, Workspace: "ws"}, nil
}

func (cluster) WorkspaceUID(_ context.Context, _, name string) (string, error) {
	if name != "ws" {
		return "", fmt.Errorf("workspace %s: %w", name, state.ErrNotFound)
	}
	return "uid", nil
}

func (cluster) Gone(context.Context, state.Holder) (bool, error) { return false, nil }

func (cluster) WorkspaceUIDs(context.Context, string) (map[string]bool, error) {
	return map[string]bool{"uid": true}, nil
}

// proxied is an API server of which the part for people is a state server behind a front proxy.
func proxied(t *testing.T) (*api, *state.Service) {
	t.Helper()
	files := frontProxyFiles(t)
	ca, err1 := os.ReadFile(filepath.Join(files, "ca.crt"))
	cert, err2 := tls.LoadX509KeyPair(filepath.Join(files, "client.crt"), filepath.Join(files, "client.key"))
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	config := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "extension-apiserver-authentication"},
		Data: map[string]string{
			"requestheader-client-ca-file": string(ca), "requestheader-username-headers": `["X-Remote-User"]`,
		},
	}
	log := slog.New(slog.DiscardHandler)
	service := state.New(state.Options{Store: &memory.Store{}, Pods: cluster{}, Clock: clock.RealClock{}, Log: log})
	srv := server.New(server.Options{
		Service: service, Gate: cluster{}, People: cluster{}, Clock: clock.RealClock{}, Log: log,
		FrontProxy: server.NewFrontProxy(fake.NewClientBuilder().WithObjects(config).Build(), clock.RealClock{}),
		Metrics:    prometheus.NewRegistry(),
	})
	backend := httptest.NewUnstartedServer(srv.Handler())
	backend.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
	backend.StartTLS()
	t.Cleanup(backend.Close)
	transport := backend.Client().Transport.(*http.Transport).Clone()
	transport.TLSClientConfig.Certificates = []tls.Certificate{cert}
	t.Cleanup(transport.CloseIdleConnections)
	to, err := url.Parse(backend.URL)
	if err != nil {
		t.Fatal(err)
	}
	a := newAPI(t)
	proxy := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Header.Set("X-Remote-User", r.In.Header.Get("Impersonate-User"))
	}}
	a.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, people.Prefix) {
			proxy.ServeHTTP(w, r)
			return
		}
		a.serve(w, r)
	})
	return a, service
}

// TestWithTheStateService: command and service understand each other, word for word.
func TestWithTheStateService(t *testing.T) {
	a, service := proxied(t)
	as := func(user, stdin string, args ...string) result {
		return a.plumbline(t, stdin, append(args, "--as", user)...)
	}
	as("alice", "", "state", "list", "ws").want(t)
	as("alice", "", "state", "show", "ws").want(t, "workspace ws has no state", "free")
	as("alice", push1, "state", "push", "ws", "-", "--why", "a & b").want(t, "version 1")
	as("alice", push2, "state", "push", "ws", "-", "--why", "second").want(t, "version 2")
	as("alice", push1, "state", "push", "ws", "-", "--why", "third").wantFailure(t, "--force")
	as("alice", "nonsense", "state", "push", "ws", "-", "--why", "w").wantFailure(t, "a state is a JSON object")
	as("alice", "", "state", "rollback", "ws", "1", "--why", "oops").want(t, "version 3 is the newest now, serial 3")
	as("alice", "", "state", "rollback", "ws", "7", "--why", "oops").wantFailure(t, "has no version 7")
	as("alice", "", "state", "list", "ws").want(t, "rollback to 1: oops", "pushed: a & b")
	as("alice", "", "state", "pull", "ws", "--version", "2").want(t, push2)

	holder := state.Holder{Namespace: "ns", Run: "ws-1", Pod: "ws-1", PodUID: "1"}
	if err := service.Lock(t.Context(), "uid", holder, []byte(`{"ID":"7"}`)); err != nil {
		t.Fatal(err)
	}
	as("alice", push2, "state", "push", "ws", "-", "--why", "w").wantFailure(t, "locked by run ns/ws-1", "state unlock")
	as("alice", "", "state", "unlock", "ws", "--why", "w", "-y", "--id", "8").wantFailure(t, `the lock's ID is "7"`)
	as("alice", "yes\n", "state", "unlock", "ws", "--why", "it is dead").want(t, "taken from run ws-1 in pod ws-1")
	as("alice", "", "state", "show", "ws").want(t, "alice took it: it is dead")

	for _, args := range [][]string{
		{"state", "list", "ws"}, {"state", "pull", "ws"}, {"state", "rollback", "ws", "1", "--why", "w"},
		{"state", "unlock", "ws", "--why", "w", "-y"}, {"state", "push", "ws", "-", "--why", "w"},
	} {
		if got := as("bob", push2, args...); !apierrors.IsForbidden(got.failed) {
			t.Errorf("%s by bob: got %v, want Forbidden", args, got.failed)
		}
	}
	as("bob", "", "state", "list", "ws").wantFailure(t, "docs/people.md")
	as("", "", "state", "list", "ws").wantFailure(t, "names no user", "kubectl auth whoami")
	as("alice", "", "state", "pull", "other").wantFailure(t, "not found")
}
