// Package runner is the controller: it wires the reconcilers to the API server, and nothing else lives here.
//
//	Workspace --runner/workspace--> Run --runner/run--> Secret, Pod --watch--> Run.status --watch--> Workspace.status
package runner

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/runner/aggregation"
	"github.com/plumbline-dev/plumbline/runner/definitions"
	"github.com/plumbline-dev/plumbline/runner/installation"
	"github.com/plumbline-dev/plumbline/runner/pod"
	"github.com/plumbline-dev/plumbline/runner/revoke"
	"github.com/plumbline-dev/plumbline/runner/run"
	"github.com/plumbline-dev/plumbline/runner/workspace"
)

// State is what the controller asks of the state service.
type State interface {
	workspace.State
	run.Locks
}

// Options are what cmd/controller is told.
type Options struct {
	// Namespace is the controller's own: its leader election lives there.
	Namespace     string
	MetricsAddr   string
	HealthAddr    string
	LeaderElect   bool
	Concurrency   int
	Clock         clock.PassiveClock
	Logger        logr.Logger
	State         State
	StateLocation func() (job.State, error)
	// Accessors and Vault are for the credentials of lost Runs.
	Accessors revoke.Accessors
	Vault     revoke.Vault
	// SkipNameValidation lets tests make several managers in one process.
	SkipNameValidation bool
}

const (
	firstRetry = 100 * time.Millisecond
	// lastRetry bounds how long an error of the surroundings is noticed to be over.
	lastRetry = 20 * time.Second
	// passDeadline ends every call of one pass: an API server that doesn't answer must not hold a worker for ever.
	passDeadline = time.Minute
)

// Scheme holds every type that the controller reads or writes.
func Scheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(s); err != nil {
		return nil, fmt.Errorf("adding Kubernetes types: %w", err)
	}
	if err := v1alpha1.AddToScheme(s); err != nil {
		return nil, fmt.Errorf("adding Plumbline's types: %w", err)
	}
	return s, nil
}

// NewManager wires the controller; its Start runs it until the context ends or leadership is lost.
func NewManager(ctx context.Context, cfg *rest.Config, o Options) (manager.Manager, error) {
	scheme, err := Scheme()
	if err != nil {
		return nil, err
	}
	cfg = rest.CopyConfig(cfg)
	cfg.Dial = patient((&net.Dialer{Timeout: dialPatience, KeepAlive: dialPatience}).DialContext)
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme:                  scheme,
		Logger:                  o.Logger,
		Cache:                   cacheOptions(),
		Metrics:                 server.Options{BindAddress: o.MetricsAddr},
		HealthProbeBindAddress:  o.HealthAddr,
		LeaderElection:          o.LeaderElect,
		LeaderElectionID:        installation.Lease,
		LeaderElectionNamespace: o.Namespace,
		// A controller that is told to stop hands over at once.
		LeaderElectionReleaseOnCancel: true,
	})
	if err != nil {
		return nil, fmt.Errorf("creating manager: %w", err)
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return nil, fmt.Errorf("adding health check: %w", err)
	}
	if err := mgr.AddReadyzCheck("ping", healthz.Ping); err != nil {
		return nil, fmt.Errorf("adding readiness check: %w", err)
	}
	if err := checkDefinitions(ctx, mgr, o.Logger); err != nil {
		return nil, err
	}
	return mgr, setUp(ctx, mgr, o)
}

// checkDefinitions refuses to start over definitions that lack fields. Ones that can't be read are none that lack any.
func checkDefinitions(ctx context.Context, mgr manager.Manager, log logr.Logger) error {
	err := definitions.Check(ctx, mgr.GetAPIReader())
	if lacking, is := errors.AsType[*definitions.LackingError](err); is {
		return lacking
	}
	if err != nil {
		log.Error(err, "looking at the CustomResourceDefinitions before the start")
	}
	if err := mgr.Add(&definitions.Keeper{Live: mgr.GetAPIReader(), Log: log}); err != nil {
		return fmt.Errorf("adding the keeper of the definitions: %w", err)
	}
	return nil
}

func setUp(ctx context.Context, mgr manager.Manager, o Options) error {
	if err := indexes(ctx, mgr); err != nil {
		return err
	}
	gate := func(r reconcile.Reconciler, claims installation.Claims) *installation.Gate {
		return &installation.Gate{
			Reconciler: r, Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Recorder: mgr.GetEventRecorder("plumbline"),
			Clock: o.Clock, Namespace: o.Namespace, Claims: claims,
		}
	}
	err := watchWorkspaces(mgr, o, gate(&workspace.Reconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Recorder: mgr.GetEventRecorder("plumbline"),
		Clock: o.Clock, State: o.State, Installation: o.Namespace,
	}, installation.Takes))
	if err != nil {
		return err
	}
	err = watchRuns(mgr, o, gate(&run.Reconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Recorder: mgr.GetEventRecorder("plumbline"),
		Clock: o.Clock, State: o.StateLocation, Locks: o.State,
	}, installation.Waits))
	if err != nil {
		return err
	}
	err = mgr.Add(&aggregation.Keeper{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Clock: o.Clock, Log: o.Logger})
	if err != nil {
		return fmt.Errorf("adding the keeper of the API for people: %w", err)
	}
	lost := gate(&revoke.Reconciler{
		Client: mgr.GetClient(), Recorder: mgr.GetEventRecorder("plumbline"), Clock: o.Clock,
		Accessors: o.Accessors, Vault: o.Vault,
	}, installation.Waits)
	lost.ByRun = true
	return watchLost(mgr, o, lost)
}

// cacheOptions keep the cache small: of Pods only runners. Secrets and ConfigMaps are watched by metadata alone.
func cacheOptions() cache.Options {
	runners := labels.SelectorFromSet(labels.Set{pod.LabelName: pod.Name, pod.LabelComponent: pod.Component})
	return cache.Options{ByObject: map[client.Object]cache.ByObject{
		&corev1.Pod{}: {Label: runners},
	}}
}

func controllerOptions(o Options) controller.Options {
	return controller.Options{
		MaxConcurrentReconciles: max(1, o.Concurrency),
		ReconciliationTimeout:   passDeadline,
		RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](firstRetry,
			lastRetry),
		SkipNameValidation: &o.SkipNameValidation,
	}
}
