package workspace

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/runner/names"
	"github.com/plumbline-dev/plumbline/runner/run"
)

// prune deletes the finished Runs that the history has no room for, and the Secrets that no Run needs any more. What a
// Run has left in the archive goes by its age: the log of Monday's change is read after many checks that found nothing.
// It returns when to look again; zero for not by time alone.
func (r *Reconciler) prune(ctx context.Context, in Input) (time.Duration, error) {
	over := surplus(in)
	for i := range over {
		old := &over[i]
		if err := r.Client.Delete(ctx, old, client.Preconditions{UID: &old.UID}); client.IgnoreNotFound(err) != nil {
			return 0, fmt.Errorf("deleting Run %q of the history: %w", old.Name, err)
		}
	}
	if in.Digest == "" {
		return 0, nil
	}
	return r.pruneSecrets(ctx, in)
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

// leastAge is how old a Secret has to be before it is deleted: one that is younger may have been made for a Run that
// was decided on while the Workspace was looked at.
const leastAge = time.Minute

// pruneSecrets keeps the files of the current inputs, of the last apply and of Runs that have not ended, and the
// outputs under their present name. It returns when to look again for what is too young yet; zero for nothing.
func (r *Reconciler) pruneSecrets(ctx context.Context, in Input) (time.Duration, error) {
	stale, again, err := r.staleSecrets(ctx, in)
	if err != nil || len(stale) == 0 {
		return again, err
	}
	needed, all, err := r.needed(ctx, in)
	if err != nil || all {
		return leastAge, err
	}
	for i := range stale {
		s := &stale[i]
		if needed[s.Name] {
			continue
		}
		if err := r.Client.Delete(ctx, s, client.Preconditions{UID: &s.UID}); client.IgnoreNotFound(err) != nil {
			return 0, fmt.Errorf("deleting Secret %q: %w", s.Name, err)
		}
	}
	return again, nil
}

// staleSecrets are the Workspace's own that neither its inputs nor its last apply nor its outputs ask for, and that are
// old enough.
func (r *Reconciler) staleSecrets(ctx context.Context, in Input) (stale []metav1.PartialObjectMetadata,
	again time.Duration, err error) {
	w := in.Workspace
	keep := map[string]bool{run.SecretName(w.Name, in.Digest, in.FilesDigest): true, outputsName(w): true}
	if a := w.Status.Applied; a != nil {
		keep[run.SecretName(w.Name, a.InputsDigest, a.FilesDigest)] = true
	}
	list := metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	err = r.Client.List(ctx, &list, client.InNamespace(w.Namespace),
		client.MatchingLabels{v1alpha1.LabelWorkspace: names.Label(w.Name)})
	if err != nil {
		return nil, 0, fmt.Errorf("listing Secrets: %w", err)
	}
	for _, s := range list.Items {
		ours := s.Labels[run.LabelInputs] == "true" || s.Labels[labelOutputs] == "true"
		if keep[s.Name] || !ours || !metav1.IsControlledBy(&s, w) {
			continue
		}
		if age := in.Now.Sub(s.CreationTimestamp.Time); age < leastAge {
			again = leastAge
			continue
		}
		stale = append(stale, s)
	}
	return stale, again, nil
}

// needed are the Secrets that Runs mount, or are about to, which have not ended. They are asked for past the cache: one
// may have been made, and launched, since. all says that nobody knows what one of them will be given.
func (r *Reconciler) needed(ctx context.Context, in Input) (names map[string]bool, all bool, err error) {
	w := in.Workspace
	var list v1alpha1.RunList
	err = r.Live.List(ctx, &list, client.InNamespace(w.Namespace))
	if err != nil {
		return nil, false, fmt.Errorf("listing Runs: %w", err)
	}
	names = map[string]bool{}
	for i := range list.Items {
		x := &list.Items[i]
		switch {
		case x.Spec.WorkspaceName != w.Name || run.Finished(x):
		case x.Status.StartedAt != nil:
			names[run.SecretName(w.Name, x.Status.InputsDigest, x.Status.FilesDigest)] = true
		case x.Spec.InputsDigest != in.Digest:
			return nil, true, nil
		}
	}
	return names, false, nil
}
