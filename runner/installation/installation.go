// Package installation keeps two installations of Plumbline in one cluster from working on the same Workspaces: each
// has a state service of its own, and would make everything that the other one has made.
//
//	Workspace's annotation plumbline.dev/installation: none, or ours --> reconcile
//	                                        another's, which is at work --> stand back, and say so
//	                                        another's, which has gone   --> take over
//
// The Workspace's reconciler writes the annotation together with the finalizer, before the first Run.
package installation

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
)

// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,verbs=get

// Lease is the controllers' own, in their installation's namespace.
const Lease = "plumbline-controller"

const (
	// goneAfter is how long an installation counts as at work after its controller was last heard of: longer than any
	// restart, election or upgrade.
	goneAfter = 10 * time.Minute
	// lookAgain is when to look whether it is still at work.
	lookAgain = 5 * time.Minute
)

// Gate lets a reconciler work on the Workspaces of its installation alone.
type Gate struct {
	reconcile.Reconciler
	Client client.Reader
	// Live reads from the API server itself.
	Live     client.Reader
	Recorder events.EventRecorder
	Clock    clock.PassiveClock
	// Namespace is the installation's own.
	Namespace string
	// Claims says what to do with a Workspace that is no installation's, or that of one that has gone.
	Claims Claims
	// ByRun says that the requests name Runs, and not Workspaces.
	ByRun bool
}

// Claims is what a reconciler does with a Workspace that it may have.
type Claims int

const (
	// Waits leaves it to another reconciler to claim it, and hears of that.
	Waits Claims = iota
	// Takes claims it, and tells about those that are left alone.
	Takes
)

// Reconcile handles one Workspace, or what belongs to it.
func (g *Gate) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var w v1alpha1.Workspace
	err := g.find(ctx, req.NamespacedName, &w)
	if err != nil && !apierrors.IsNotFound(err) {
		return ctrl.Result{}, err
	}
	owner := w.Annotations[v1alpha1.AnnotationInstallation]
	switch {
	case err != nil, owner == g.Namespace:
		return g.Reconciler.Reconcile(ctx, req)
	case g.Claims == Waits:
		return ctrl.Result{}, nil
	case owner == "":
		return g.Reconciler.Reconcile(ctx, req)
	}
	atWork, err := g.atWork(ctx, owner)
	if err != nil {
		return ctrl.Result{}, err
	}
	if atWork {
		g.Recorder.Eventf(&w, nil, corev1.EventTypeWarning, "OtherInstallation", "Reconcile",
			"the installation of Plumbline in namespace %s looks after this Workspace and is at work: the one in namespace %s "+
				"leaves it alone. Uninstall one of them; to hand the Workspace over, set its annotation %s", owner, g.Namespace,
			v1alpha1.AnnotationInstallation)
		return ctrl.Result{RequeueAfter: lookAgain}, nil
	}
	return g.Reconciler.Reconcile(ctx, req)
}

// find reads the Workspace that a request is about.
func (g *Gate) find(ctx context.Context, key client.ObjectKey, w *v1alpha1.Workspace) error {
	if g.ByRun {
		var r v1alpha1.Run
		if err := g.Client.Get(ctx, key, &r); err != nil {
			return fmt.Errorf("reading Run: %w", err)
		}
		key.Name = r.Spec.WorkspaceName
	}
	if err := g.Client.Get(ctx, key, w); err != nil {
		return fmt.Errorf("reading Workspace: %w", err)
	}
	return nil
}

// atWork tells whether another installation's controller was heard of lately. A Lease that was given back counts too:
// somebody is about to take it.
func (g *Gate) atWork(ctx context.Context, namespace string) (bool, error) {
	var lease coordinationv1.Lease
	err := g.Live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: Lease}, &lease)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for the installation in namespace %s: %w", namespace, err)
	}
	heard := lease.Spec.RenewTime
	return heard != nil && g.Clock.Since(heard.Time) < goneAfter, nil
}
