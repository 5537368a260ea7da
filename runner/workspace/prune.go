package workspace

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/runner/names"
	"github.com/plumbline-dev/plumbline/runner/run"
)

// forgetLimit is short: an archive that isn't removed with its Run goes by its age, and nobody is to wait for that.
const forgetLimit = 3 * time.Second

// prune deletes the finished Runs that the history has no room for, and the Secrets that no Run needs any more.
func (r *Reconciler) prune(ctx context.Context, in Input) error {
	over := surplus(in)
	for i := range over {
		old := &over[i]
		if err := r.Client.Delete(ctx, old, client.Preconditions{UID: &old.UID}); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting Run %q of the history: %w", old.Name, err)
		}
	}
	r.forget(ctx, in.Workspace, over)
	if in.Digest == "" {
		return nil
	}
	return r.pruneSecrets(ctx, in)
}

// forget has the archives of Runs removed that are gone. It stops at the first that can't be.
func (r *Reconciler) forget(ctx context.Context, w *v1alpha1.Workspace, gone []v1alpha1.Run) {
	ctx, cancel := context.WithTimeout(ctx, forgetLimit)
	defer cancel()
	for i := range gone {
		if err := r.State.ForgetRun(ctx, w, gone[i].Name); err != nil {
			log.FromContext(ctx).Info("archives of deleted Runs are left to go by their age", "error", err)
			return
		}
	}
}

// surplus are the oldest finished Runs over the limits. The newest that tells about the Workspace is kept whatever they
// say, for decisions are made from it.
func surplus(in Input) []v1alpha1.Run {
	room := map[bool]int{true: 3, false: 5}
	if h := in.Workspace.Spec.History; h != nil {
		if h.Succeeded != nil {
			room[true] = int(*h.Succeeded)
		}
		if h.Failed != nil {
			room[false] = int(*h.Failed)
		}
	}
	var over []v1alpha1.Run
	for i := len(in.Finished) - 1; i >= 0; i-- {
		if in.Finished[i].Status.Revocation == v1alpha1.RevocationPending {
			continue // what it left in Vault is known by it alone
		}
		kind := succeeded(&in.Finished[i])
		room[kind]--
		if room[kind] < 0 && (in.Last == nil ||
			in.Finished[i].UID != in.Last.UID) && in.Finished[i].DeletionTimestamp == nil {
			over = append(over, in.Finished[i])
		}
	}
	return over
}

// pruneSecrets keeps the files of the current inputs and of the last apply, and the outputs under their present name.
func (r *Reconciler) pruneSecrets(ctx context.Context, in Input) error {
	w := in.Workspace
	keep := map[string]bool{run.SecretName(w.Name, in.Digest, in.FilesDigest): true, outputsName(w): true}
	if a := w.Status.Applied; a != nil {
		keep[run.SecretName(w.Name, a.InputsDigest, a.FilesDigest)] = true
	}
	list := metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	err := r.Client.List(ctx, &list, client.InNamespace(w.Namespace),
		client.MatchingLabels{v1alpha1.LabelWorkspace: names.Label(w.Name)})
	if err != nil {
		return fmt.Errorf("listing Secrets: %w", err)
	}
	for i := range list.Items {
		s := &list.Items[i]
		ours := s.Labels[run.LabelInputs] == "true" || s.Labels[labelOutputs] == "true"
		if keep[s.Name] || !ours || !metav1.IsControlledBy(s, w) {
			continue
		}
		if err := r.Client.Delete(ctx, s, client.Preconditions{UID: &s.UID}); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting Secret %q: %w", s.Name, err)
		}
	}
	return nil
}
