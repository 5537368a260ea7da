package workspace

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var orphaned = prometheus.NewCounter(prometheus.CounterOpts{
	Name: "plumbline_workspaces_orphaned_total",
	Help: "Workspaces let go with infrastructure still there, because their namespace was being deleted.",
})

func init() { metrics.Registry.MustRegister(orphaned) }
