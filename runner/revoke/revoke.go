// Package revoke ends what Runs without a result have left in Vault: a driver that is gone can't revoke its own token.
//
//	Run.status.revocation: Pending --accessors, from the state service--> Vault --> Done | Left
//
// The mark is written together with the Run's end, so that a controller that restarts goes on here. Nobody waits for
// it: the Run is over, and all that it left ends by itself at its deadline.
package revoke

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/runner/inputs"
	"github.com/plumbline-dev/plumbline/runner/limits"
	"github.com/plumbline-dev/plumbline/runner/pod"
)

// passLimit ends one look, so that a Vault that doesn't answer holds no worker; the queue's own delays follow.
const passLimit = 10 * time.Second

// Accessors tells by which accessors a Run's tokens can be revoked; none when it never logged in.
type Accessors interface {
	Accessors(ctx context.Context, w *v1alpha1.Workspace, run *v1alpha1.Run) ([]string, error)
}

// Vault revokes a token by its accessor. One that is gone already is fine.
type Vault interface {
	Revoke(ctx context.Context, v v1alpha1.VaultServer, accessor string) error
}

// Reconciler handles Runs whose revocation is pending. It holds collaborators only.
type Reconciler struct {
	Client    client.Client
	Recorder  events.EventRecorder
	Clock     clock.PassiveClock
	Accessors Accessors
	Vault     Vault
}

// Reconcile handles one Run.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, passLimit)
	defer cancel()
	var run v1alpha1.Run
	if err := r.Client.Get(ctx, req.NamespacedName, &run); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if run.Status.Revocation != v1alpha1.RevocationPending {
		return ctrl.Result{}, nil
	}
	became, revoked, err := r.end(ctx, &run)
	if err != nil {
		return ctrl.Result{}, err
	}
	before := run.DeepCopy()
	run.Status.Revocation = became
	from := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Status().Patch(ctx, &run, from); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(fmt.Errorf("writing Run status: %w", err))
	}
	if revoked > 0 {
		r.Recorder.Eventf(&run, nil, corev1.EventTypeNormal, v1alpha1.ReasonCredentialsRevoked, "Revoke", "%s",
			limits.Note("the credentials that Run %s left in Vault are revoked", run.Name))
	}
	return ctrl.Result{}, nil
}

// end revokes what the Run has left, and says what became of it and how many tokens it was.
func (r *Reconciler) end(ctx context.Context, run *v1alpha1.Run) (v1alpha1.Revocation, int, error) {
	var w v1alpha1.Workspace
	key := types.NamespacedName{Namespace: run.Namespace, Name: run.Spec.WorkspaceName}
	if err := r.Client.Get(ctx, key, &w); err != nil {
		return v1alpha1.RevocationLeft, 0, client.IgnoreNotFound(err)
	}
	class, err := inputs.Class(ctx, r.Client, &w)
	if err != nil {
		return r.orLeft(run, time.Hour, err)
	}
	v := class.Spec.Vault
	if v == nil || v.RevokerRole == "" {
		return v1alpha1.RevocationLeft, 0, nil
	}
	lifetime := pod.Deadline(&w, class)
	accessors, err := r.Accessors.Accessors(ctx, &w, run)
	if err != nil {
		return r.orLeft(run, lifetime, err)
	}
	for _, a := range accessors {
		if err := r.Vault.Revoke(ctx, *v, a); err != nil {
			return r.orLeft(run, lifetime, fmt.Errorf("revoking the credentials of Run %q: %w", run.Name, err))
		}
	}
	if len(accessors) > 0 {
		log.FromContext(ctx).Info("revoked the credentials that a lost Run left in Vault", "run", run.Name)
	}
	return v1alpha1.RevocationDone, len(accessors), nil
}

// orLeft gives up once everything has ended by itself. The lifetime counts from the launch, and the driver started
// later: twice the time is surely enough.
func (r *Reconciler) orLeft(run *v1alpha1.Run, lifetime time.Duration, err error) (v1alpha1.Revocation, int, error) {
	started := run.Status.StartedAt
	if started == nil || r.Clock.Since(started.Time) > 2*lifetime {
		return v1alpha1.RevocationLeft, 0, nil
	}
	return v1alpha1.RevocationPending, 0, err
}
