package workspace

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/runner/names"
	"github.com/plumbline-dev/plumbline/runner/run"
)

// collectorPatience is when to look again at a Workspace that the garbage collector is at work on. Its end is watched;
// the timer is for an end that went unseen.
const collectorPatience = 30 * time.Second

// collecting waits for the garbage collector. Who deletes a Workspace in the foreground, as Argo CD does, has the
// collector delete all that belongs to it first: history and files, and the Run that destroys with its Pod, should it
// be there by then. Who leaves the dependents (cascade=orphan) has it take the owner off them. Either way the collector
// takes its finalizer off the Workspace when it is done, and what is made after that it leaves alone.
func collecting(in Input) (Decision, bool) {
	cascade := ""
	switch w := in.Workspace; {
	case slices.Contains(w.Finalizers, metav1.FinalizerDeleteDependents):
		cascade = "foreground"
	case slices.Contains(w.Finalizers, metav1.FinalizerOrphanDependents):
		cascade = "orphan"
	default:
		return Decision{}, false
	}
	return Decision{
		Do: Wait, Reason: v1alpha1.ReasonDestroying, Again: collectorPatience,
		Message: fmt.Sprintf("Kubernetes' garbage collector is at work on what belongs to the Workspace, as the deletion "+
			"asks (cascade=%s): the infrastructure is destroyed after that", cascade),
	}, true
}

// destroyed is the newest finished Run that a deletion asked for.
func destroyed(in Input) *v1alpha1.Run {
	for i := len(in.Finished) - 1; i >= 0; i-- {
		if in.Finished[i].Spec.Trigger.Kind == v1alpha1.TriggerDeletion {
			return &in.Finished[i]
		}
	}
	return nil
}

// leftovers deletes the files with inputs, which may be secret, that the garbage collector has taken the owner off.
func (r *Reconciler) leftovers(ctx context.Context, w *v1alpha1.Workspace) error {
	list := metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	err := r.Client.List(ctx, &list, client.InNamespace(w.Namespace),
		client.MatchingLabels{v1alpha1.LabelWorkspace: names.Label(w.Name), run.LabelInputs: "true"})
	if err != nil {
		return fmt.Errorf("listing Secrets: %w", err)
	}
	for i := range list.Items {
		s := &list.Items[i]
		if metav1.GetControllerOf(s) != nil {
			continue
		}
		if err := r.Client.Delete(ctx, s, client.Preconditions{UID: &s.UID}); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting Secret %q: %w", s.Name, err)
		}
	}
	return nil
}
