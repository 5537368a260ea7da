package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
	"k8s.io/utils/clock"
)

const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	// transferTimeout is for a whole request or answer, bodies of many megabytes on a slow line included.
	transferTimeout = 3 * time.Minute
	maxHeader       = 64 << 10
	// notReadyFor lets the cluster take note of a failed readiness before connections are refused.
	notReadyFor = 2 * time.Second
	// drainTimeout is for requests in flight.
	drainTimeout  = 20 * time.Second
	healthTimeout = 5 * time.Second
	// healthKept is for how long an answer about the store is given to others.
	healthKept = 5 * time.Second
)

// ListenOptions are the two sockets: the API over TLS, and metrics and health over plain HTTP.
type ListenOptions struct {
	API     net.Listener
	TLS     *tls.Config
	Metrics net.Listener
	Gather  prometheus.Gatherer
}

// Serve serves until ctx ends; then it stops being ready, takes no new connections and ends what is in flight.
func (s *Server) Serve(ctx context.Context, o ListenOptions) error {
	var leaving atomic.Bool
	api, side := s.newHTTP(s.Handler()), s.newHTTP(s.side(o.Gather, &leaving))
	group, stopped := errgroup.WithContext(ctx)
	group.Go(func() error { return closed(api.Serve(tls.NewListener(o.API, o.TLS))) })
	group.Go(func() error { return closed(side.Serve(o.Metrics)) })
	group.Go(func() error {
		<-stopped.Done()
		leaving.Store(true)
		if ctx.Err() != nil {
			s.Clock.Sleep(notReadyFor)
		}
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
		defer cancel()
		return errors.Join(api.Shutdown(last), side.Close())
	})
	if err := group.Wait(); err != nil {
		return fmt.Errorf("serving: %w", err)
	}
	return nil
}

func (s *Server) newHTTP(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       transferTimeout,
		WriteTimeout:      transferTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
}

// side serves what is not for callers: /livez (the process answers), /readyz (it takes requests), /healthz (the store
// answers too) and /metrics.
func (s *Server) side(gather prometheus.Gatherer, leaving *atomic.Bool) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(gather, promhttp.HandlerOpts{}))
	mux.HandleFunc("/livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = writeAnswer(w, done) })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if leaving.Load() {
			_, _ = writeAnswer(w, answerError(http.StatusServiceUnavailable, "shutting down"))
			return
		}
		_, _ = writeAnswer(w, done)
	})
	health := &health{clock: s.Clock, check: s.Service.Healthy}
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) {
		if err := health.look(r.Context()); err != nil {
			_, _ = writeAnswer(w, answerTo(err))
			return
		}
		_, _ = writeAnswer(w, done)
	})
	return mux
}

// health is how the store was when it was last looked at. Anybody may ask, and however many do, the store is read once
// in a while.
type health struct {
	clock clock.PassiveClock
	check func(context.Context) error

	mu   sync.Mutex
	next time.Time
	last error
}

func (h *health) look(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := h.clock.Now(); !now.Before(h.next) {
		// Others are given this answer: it isn't cut short when the first one hangs up.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), healthTimeout)
		defer cancel()
		h.last = h.check(ctx)
		h.next = h.clock.Now().Add(healthKept)
	}
	return h.last
}

// closed tells a server that was shut down from one that failed.
func closed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
