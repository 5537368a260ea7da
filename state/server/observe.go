package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/plumbline-dev/plumbline/driver/job"
)

type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	bytes    *prometheus.CounterVec
	panics   *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "plumbline_state_requests_total", Help: "Requests by route and HTTP status.",
		}, []string{"route", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "plumbline_state_request_seconds", Help: "How long requests took, by route.",
			Buckets: []float64{.002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60},
		}, []string{"route"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "plumbline_state_bytes_total", Help: "Bytes of bodies, received and sent, by route.",
		}, []string{"route", "direction"}),
		panics: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "plumbline_state_panics_total", Help: "Requests that were ended by a fault of the program, by route.",
		}, []string{"route"}),
	}
	r.MustRegister(m.requests, m.seconds, m.bytes, m.panics)
	return m
}

// face is what routes have in common: how a request is served, and what a refusal looks like.
type face struct {
	serve  func(ctx context.Context, rt route, w http.ResponseWriter, c *call) (answer, error)
	refuse func(err error) answer
}

// observed is a route for runner Pods and the controller.
func (s *Server) observed(rt route) http.Handler {
	return s.facing(face{serve: s.serve, refuse: answerTo}, rt)
}

// facing serves a route within its deadline, counts it, and leaves one line in the log for each request.
func (s *Server) facing(f face, rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := s.Clock.Now()
		ctx, cancel := context.WithTimeout(r.Context(), rt.timeout)
		defer cancel()
		c := call{r: r, told: &told{}}
		defer s.room.release(&c)
		a, err := s.survive(ctx, rt, func() (answer, error) { return f.serve(ctx, rt, w, &c) })
		if err != nil {
			a = f.refuse(err)
		}
		if id := s.Service.StoreID; id != "" {
			w.Header().Set(job.StoreHeader, id)
		}
		sent, broken := writeAnswer(w, a)
		took := s.Clock.Since(began)
		s.metrics.requests.WithLabelValues(rt.name, strconv.Itoa(a.status)).Inc()
		s.metrics.seconds.WithLabelValues(rt.name).Observe(took.Seconds())
		s.metrics.bytes.WithLabelValues(rt.name, "received").Add(float64(len(c.body)))
		s.metrics.bytes.WithLabelValues(rt.name, "sent").Add(float64(sent))
		s.logRequest(rt, &c, outcome{answer: a, err: errors.Join(err, broken), sent: sent, took: took})
		s.audit(rt, &c, a)
		if broken != nil {
			panic(http.ErrAbortHandler) // so that the caller does not take a part for the whole
		}
	})
}

// errPanic is the answer to a request that the program itself failed in.
var errPanic = errors.New("the state service failed in this request; its log has the cause")

// survive carries a request out. A panic ends that request alone: it is logged with its stack, counted and answered.
func (s *Server) survive(ctx context.Context, rt route, do func() (answer, error)) (a answer, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			s.metrics.panics.WithLabelValues(rt.name).Inc()
			s.Log.ErrorContext(ctx, "a request's handler panicked", "route", rt.name, "cause", fmt.Sprint(cause),
				"stack", string(debug.Stack()))
			a, err = answer{}, errPanic
		}
	}()
	return do()
}

type outcome struct {
	answer answer
	err    error
	sent   int
	took   time.Duration
}

func (s *Server) logRequest(rt route, c *call, o outcome) {
	level := slog.LevelInfo
	if o.answer.status >= http.StatusInternalServerError {
		level = slog.LevelWarn
	}
	attrs := []slog.Attr{
		slog.String("route", rt.name), slog.Int("status", o.answer.status),
		slog.String("namespace", c.r.PathValue("namespace")), slog.String("workspace", c.r.PathValue("name")),
		slog.String("run", c.id.Run), slog.String("pod", c.id.Pod), slog.Bool("controller", c.id.Controller),
		slog.String("person", c.id.Person),
		slog.Int("received", len(c.body)), slog.Int("sent", o.sent),
		slog.Duration("took", o.took), slog.String("remote", c.r.RemoteAddr),
	}
	if o.err != nil {
		attrs = append(attrs, slog.String("error", o.err.Error()))
	}
	s.Log.LogAttrs(c.r.Context(), level, "request", attrs...)
}

// serve finds out who is calling and whether they may before it reads the body.
func (s *Server) serve(ctx context.Context, rt route, w http.ResponseWriter, c *call) (answer, error) {
	token, ok := strings.CutPrefix(c.r.Header.Get("Authorization"), "Bearer ")
	if !ok || token == "" {
		return answer{}, ErrUnauthenticated
	}
	var err error
	if c.id, err = s.Gate.Identify(ctx, token); err != nil {
		return answer{}, err
	}
	if err := allowed(rt.access, c.id, c.r.PathValue("namespace"), c.r.PathValue("name")); err != nil {
		return answer{}, err
	}
	if rt.access == writes {
		if err := s.Gate.Active(ctx, c.id); err != nil {
			return answer{}, err
		}
	}
	if c.uid, err = s.workspaceUID(ctx, rt.access, c); err != nil {
		return answer{}, err
	}
	if err := s.readBody(ctx, w, c, rt.maxBody); err != nil {
		return answer{}, err
	}
	return s.handle(ctx, rt, c)
}

func (s *Server) workspaceUID(ctx context.Context, a access, c *call) (string, error) {
	if !c.id.Controller || a == controls {
		return c.id.WorkspaceUID, nil
	}
	return s.Gate.WorkspaceUID(ctx, c.r.PathValue("namespace"), c.r.PathValue("name"))
}
