package run

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
)

var (
	finishedRuns = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "plumbline_runs_finished_total",
		Help: "Runs that ended, by operation, trigger and class.",
	}, []string{"operation", "trigger", "class"})

	runSeconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "plumbline_run_duration_seconds",
		Help:    "Time from a Run's launch to its end.",
		Buckets: prometheus.ExponentialBuckets(1, 2, 13),
	}, []string{"operation"})
)

func init() { metrics.Registry.MustRegister(finishedRuns, runSeconds) }

func observe(r *v1alpha1.Run) {
	finishedRuns.WithLabelValues(string(r.Spec.Operation), string(r.Spec.Trigger.Kind), r.Status.Class).Inc()
	if r.Status.StartedAt != nil && r.Status.FinishedAt != nil {
		took := r.Status.FinishedAt.Sub(r.Status.StartedAt.Time)
		runSeconds.WithLabelValues(string(r.Spec.Operation)).Observe(took.Seconds())
	}
}
