package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/plumbline-dev/plumbline/state/store/memory"
)

// served is a server as it is deployed, over TLS; the address is of its API.
func served(t *testing.T) (s *Server, address string) {
	t.Helper()
	s = newServer(&gate{}, &memory.Store{}, slog.New(slog.DiscardHandler))
	s.Clock = clock.RealClock{}
	certs := newTestCerts(fake.NewClientBuilder().Build())
	certs.Clock = s.Clock
	if err := certs.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	api, side := listen(t), listen(t)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- s.Serve(ctx, ListenOptions{API: api, TLS: certs.TLS(), Metrics: side, Gather: prometheus.NewRegistry()})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s, api.Addr().String()
}

var trustAnybody = &tls.Config{InsecureSkipVerify: true}

// begin sends the beginning of a large state and returns the connection.
func begin(t *testing.T, address, part string) net.Conn {
	t.Helper()
	conn, err := tls.Dial("tcp", address, trustAnybody)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(conn, "POST %s?ID=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"+
		"Content-Length: %d\r\n\r\n%s", st, oneRun, maxState, part)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// drip sends a byte now and then until the context ends.
func drip(ctx context.Context, conn net.Conn) error {
	for ticker := time.NewTicker(50 * time.Millisecond); ctx.Err() == nil; <-ticker.C {
		if _, err := conn.Write([]byte(" ")); err != nil {
			return err
		}
	}
	return nil
}

// TestSlowAndBrokenClients: a hundred clients announce 64 MiB each and send a byte now and then, others hang up in the
// middle, and some never say who they are. Another client is answered as ever, and memory is for what has come.
func TestSlowAndBrokenClients(t *testing.T) {
	s, address := served(t)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	ctx, stop := context.WithCancel(t.Context())
	var slow sync.WaitGroup
	for i := range 100 {
		conn := begin(t, address, "{")
		defer func() { _ = conn.Close() }()
		slow.Go(func() {
			if err := drip(ctx, conn); err != nil {
				t.Errorf("slow client %d was hung up on: %v", i, err)
			}
		})
		_ = begin(t, address, strings.Repeat(" ", 64<<10)).Close()
		if silent, err := net.Dial("tcp", address); err == nil {
			defer func() { _ = silent.Close() }()
		}
	}
	transport := &http.Transport{TLSClientConfig: trustAnybody}
	defer transport.CloseIdleConnections()
	ask := func(method, path, body string) int {
		req, err := http.NewRequestWithContext(t.Context(), method, "https://"+address+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer ns/other/b")
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	const path = "/v1/workspaces/ns/other/state"
	if got := ask("LOCK", path, lock1); got != http.StatusOK {
		t.Fatalf("another client's lock: %d", got)
	}
	pad := strings.Repeat("x", 4<<20)
	for serial := range 20 {
		if got := ask("POST", path+"?ID=1", fmt.Sprintf(`{"serial":%d,"pad":%q}`, serial, pad)); got != http.StatusOK {
			t.Errorf("another client's state: %d", got)
		}
	}
	if !s.room.all.TryAcquire(largeRoom) {
		t.Error("who sends nothing takes the room of those who do")
	} else {
		s.room.all.Release(largeRoom)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	// Twenty versions in the store in memory are 80 MiB; all that was announced is 6400 MiB.
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 400<<20 {
		t.Errorf("memory has grown by %d MiB", grown>>20)
	}
	stop()
	slow.Wait()
}

// TestLargeBodiesHaveToFit: beyond the room they wait, and are told to come again when that takes too long.
func TestLargeBodiesHaveToFit(t *testing.T) {
	s := newServer(&gate{}, &memory.Store{}, slog.New(slog.DiscardHandler))
	h := s.Handler()
	do(t, h, exchange{token: oneRun, method: "LOCK", path: st, body: lock1})
	post := func(size int, patience time.Duration) int {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		body := fmt.Sprintf(`{"serial":1,"pad":%q}`, strings.Repeat("x", size))
		req := httptest.NewRequestWithContext(ctx, http.MethodPost, st+"?ID=1", strings.NewReader(body))
		req.Header.Set("Authorization", "Bearer "+oneRun)
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, req)
		return rec.Code
	}
	if !s.room.all.TryAcquire(largeRoom) {
		t.Fatal("there is no room at the beginning")
	}
	if got := post(2<<20, time.Second/4); got != http.StatusServiceUnavailable {
		t.Errorf("a large state without room: %d, want 503", got)
	}
	if got := post(1<<10, time.Minute); got != http.StatusOK {
		t.Errorf("a small state without room: %d, want 200", got)
	}
	s.room.all.Release(largeRoom)
	for range 5 * largeRoom / maxState { // what has ended has given its room back
		if got := post(2<<20, time.Minute); got != http.StatusConflict && got != http.StatusOK {
			t.Errorf("a large state: %d", got)
		}
	}
	if !s.room.all.TryAcquire(largeRoom) {
		t.Error("room is not given back")
	}
}
