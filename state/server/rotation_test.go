package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	clocktesting "k8s.io/utils/clock/testing"
	sigclient "sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/plumbline-dev/plumbline/state/client"
)

// foreignSecret is a certificate that somebody else has made.
func foreignSecret(t *testing.T) *corev1.Secret {
	t.Helper()
	data, err := renew(nil, []string{"localhost", "example.com"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	delete(data, keyCAKey)
	secret := &corev1.Secret{Data: data}
	secret.Namespace, secret.Name = tlsSecret.Namespace, tlsSecret.Name
	return secret
}

// TestAnotherCAWithoutARestart: the CA changes under a running server and a running client. While clients know both, no
// call fails; those that know the new one alone are served, and those that know the old one alone aren't any more.
func TestAnotherCAWithoutARestart(t *testing.T) {
	one, two := foreignSecret(t), foreignSecret(t)
	c := fake.NewClientBuilder().WithObjects(one.DeepCopy()).Build()
	clk := clocktesting.NewFakeClock(time.Now())
	certs := NewCerts(CertOptions{
		Client: c, Secret: tlsSecret, Foreign: true, Clock: clk, Log: slog.New(slog.DiscardHandler),
	})
	if err := certs.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	go certs.Keep(t.Context())
	served := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("{}"))
	}))
	served.Listener = tls.NewListener(served.Listener, certs.TLS())
	served.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	served.Start()
	t.Cleanup(served.Close)
	dir := t.TempDir()
	caFile, tokenFile := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "token")
	know := func(secrets ...*corev1.Secret) {
		var bundle []byte
		for _, s := range secrets {
			bundle = append(bundle, s.Data[keyCACert]...)
		}
		if err := os.WriteFile(caFile, bundle, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(tokenFile, []byte("token"), 0o600); err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("https://localhost:%d", served.Listener.Addr().(*net.TCPAddr).Port)
	caller := client.New(client.Options{URL: address, CAFile: caFile, TokenFile: tokenFile})
	call := func() error {
		served.CloseClientConnections() // each call shakes hands anew
		_, err := caller.Outputs(t.Context(), "ns", "ws")
		return err
	}
	want := func(what string) {
		t.Helper()
		if err := call(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	know(one)
	want("the first CA")
	know(one, two)
	want("both CAs known, the first one's certificate served")
	next := &corev1.Secret{}
	if err := c.Get(t.Context(), tlsSecret, next); err != nil {
		t.Fatal(err)
	}
	next.Data = maps.Clone(two.Data)
	if err := c.Update(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	awaitCert(t, certs, clk, func() { want("both CAs known, while certificates change") })
	want("both CAs known, the second one's certificate served")
	know(two)
	want("the second CA")
	know(one)
	if call() == nil {
		t.Error("a client that knows the first CA alone still trusts the server")
	}
}

// awaitCert lets the clock go on until another certificate is served.
func awaitCert(t *testing.T, certs *Certs, clk *clocktesting.FakeClock, meanwhile func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for old := certs.current.Load(); ; meanwhile() {
		if now := certs.current.Load(); string(now.Certificate[0]) != string(old.Certificate[0]) {
			return
		}
		if ctx.Err() != nil {
			t.Fatal("the changed certificate is never served")
		}
		clk.Step(reloadEvery)
	}
}

// TestAForeignCertificateIsWaitedFor, and nothing is made in its place.
func TestAForeignCertificateIsWaitedFor(t *testing.T) {
	c := fake.NewClientBuilder().Build()
	certs := newTestCerts(c)
	certs.Foreign = true
	if err := certs.Load(t.Context()); err == nil {
		t.Error("there is a certificate")
	}
	if err := c.Get(t.Context(), tlsSecret, &corev1.Secret{}); sigclient.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("the Secret was made: %v", err)
	}
	if err := c.Create(t.Context(), foreignSecret(t)); err != nil {
		t.Fatal(err)
	}
	if err := certs.Load(t.Context()); err != nil {
		t.Error(err)
	}
}
