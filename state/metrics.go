package state

import "github.com/prometheus/client_golang/prometheus"

// What becomes of locks and versions, as the metrics' label says it.
const (
	lockTaken      = "taken"
	lockReleased   = "released"
	lockPassedOver = "passed-over"
	lockForced     = "forced"
	lockRefused    = "refused"

	versionWritten = "written"
	versionPruned  = "pruned"
)

// metrics count what happens; none is of a single Workspace, so they are as many as there are words.
type metrics struct {
	locks, versions *prometheus.CounterVec
}

// newMetrics registers with r unless it is nil.
func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		locks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "plumbline_state_locks_total", Help: "What became of locks of states.",
		}, []string{"event"}),
		versions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "plumbline_state_versions_total", Help: "Versions of states that were written and pruned.",
		}, []string{"event"}),
	}
	for _, event := range []string{lockTaken, lockReleased, lockPassedOver, lockForced, lockRefused} {
		m.locks.WithLabelValues(event)
	}
	for _, event := range []string{versionWritten, versionPruned} {
		m.versions.WithLabelValues(event)
	}
	if r != nil {
		r.MustRegister(m.locks, m.versions)
	}
	return m
}

func (m *metrics) lock(event string)           { m.locks.WithLabelValues(event).Inc() }
func (m *metrics) version(event string, n int) { m.versions.WithLabelValues(event).Add(float64(n)) }
