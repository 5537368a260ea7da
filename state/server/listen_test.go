package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/plumbline-dev/plumbline/state/store/memory"
)

// slow is a Gate that keeps a request until the test lets it go.
type slow struct {
	gate
	entered, leave chan struct{}
}

func (s *slow) Identify(ctx context.Context, token string) (Identity, error) {
	close(s.entered)
	<-s.leave
	return s.gate.Identify(ctx, token)
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func get(t *testing.T, c *http.Client, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+oneRun)
	resp, err := c.Do(req)
	if err != nil {
		t.Errorf("getting %s: %v", url, err)
		return 0, ""
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp.StatusCode, string(body)
}

// A rollout stops the old server while requests are in flight: it stops being ready at once, and each request ends.
func TestShutdownEndsWhatIsInFlight(t *testing.T) {
	g := &slow{entered: make(chan struct{}), leave: make(chan struct{})}
	s := newServer(&g.gate, &memory.Store{}, slog.New(slog.DiscardHandler))
	s.Gate = g
	// On this clock the pause before connections are refused takes no time.
	s.Clock = &noSleep{clocktesting.NewFakeClock(start)}
	certs := newTestCerts(fake.NewClientBuilder().Build())
	certs.Clock = s.Clock
	certs.DNSNames = []string{"localhost"}
	if err := certs.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	api, side := listen(t), listen(t)
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- s.Serve(ctx, ListenOptions{API: api, TLS: certs.TLS(), Metrics: side, Gather: prometheus.NewRegistry()})
	}()
	for _, path := range []string{"/livez", "/readyz", "/healthz", "/metrics"} {
		if code, body := get(t, http.DefaultClient, "http://"+side.Addr().String()+path); code != http.StatusOK {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}

	answered := make(chan int, 1)
	go func() {
		code, _ := get(t, trusting(t, certs), "https://"+api.Addr().String()+st)
		answered <- code
	}()
	<-g.entered
	stop()
	close(g.leave)
	if code := <-answered; code != http.StatusNoContent {
		t.Errorf("the request in flight got %d, want 204", code)
	}
	if err := <-served; err != nil {
		t.Errorf("serving ended with %v", err)
	}
	if _, err := net.Dial("tcp", api.Addr().String()); err == nil {
		t.Error("connections are still accepted")
	}
}

type noSleep struct{ *clocktesting.FakeClock }

func (c *noSleep) Sleep(time.Duration) {}

func trusting(t *testing.T, certs *Certs) *http.Client {
	t.Helper()
	cert, err := certs.TLS().GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	config := &tls.Config{RootCAs: pool, ServerName: "localhost", Time: func() time.Time { return start }}
	transport := &http.Transport{TLSClientConfig: config}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}
