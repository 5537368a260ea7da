package run

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/runner/names"
	"github.com/plumbline-dev/plumbline/runner/pod"
)

// IndexWorkspace is the index of Runs by the name of their Workspace.
const IndexWorkspace = "spec.workspaceName"

// gather reads what the Run whose turn it is depends on. It returns a nil Run when there is nothing to do.
func (r *Reconciler) gather(ctx context.Context, key types.NamespacedName) (Input, error) {
	var runs v1alpha1.RunList
	err := r.Client.List(ctx, &runs, client.InNamespace(key.Namespace), client.MatchingFields{IndexWorkspace: key.Name})
	if err != nil {
		return Input{}, fmt.Errorf("listing Runs: %w", err)
	}
	in := Input{Run: Turn(runs.Items), Before: before(runs.Items), Now: r.Clock.Now()}
	if err := r.pods(ctx, key, &in); err != nil || in.Run == nil {
		return in, err
	}
	in.Run = in.Run.DeepCopy()
	if in.Workspace, err = workspace(ctx, r.Client, key); err != nil {
		return Input{}, err
	}
	if err := r.doubt(ctx, key, &in); err != nil {
		return Input{}, err
	}
	if in.Workspace != nil {
		in.Ended = Ended(in.Workspace, AllBelieved(in.Workspace, runs.Items))
		in.Lies = StateLies(in.Workspace, in.Ended)
	}
	in.Sequence = following(in.Workspace, runs.Items)
	return in, r.unrecorded(ctx, &in)
}

// before is the Run that ended last.
func before(runs []v1alpha1.Run) *v1alpha1.Run {
	ended := inOrder(runs)
	if len(ended) == 0 {
		return nil
	}
	return &ended[len(ended)-1]
}

// doubt finds out whether the Run is what it claims to be. The Workspace of a cache may be older than its Run: nobody
// is turned away for that.
func (r *Reconciler) doubt(ctx context.Context, key types.NamespacedName, in *Input) error {
	if in.Workspace == nil || in.Run.Status.StartedAt != nil || Doubt(in.Workspace, in.Run) == "" {
		return nil
	}
	live, err := workspace(ctx, r.Live, key)
	if err != nil {
		return err
	}
	if in.Workspace = live; live != nil {
		in.Doubt = Doubt(live, in.Run)
	}
	return nil
}

func workspace(ctx context.Context, c client.Reader, key types.NamespacedName) (*v1alpha1.Workspace, error) {
	var w v1alpha1.Workspace
	err := c.Get(ctx, key, &w)
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // a Run may name a Workspace that doesn't exist
	}
	if err != nil {
		return nil, fmt.Errorf("reading Workspace: %w", err)
	}
	return &w, nil
}

// pods finds the Run's own Pod, one of another Run that may still be at work, and those whose Run is over.
func (r *Reconciler) pods(ctx context.Context, key types.NamespacedName, in *Input) error {
	var list corev1.PodList
	err := r.Client.List(ctx, &list, client.InNamespace(key.Namespace),
		client.MatchingLabels{v1alpha1.LabelWorkspace: names.Label(key.Name), pod.LabelComponent: pod.Component})
	if err != nil {
		return fmt.Errorf("listing Pods: %w", err)
	}
	for i := range list.Items {
		p := &list.Items[i]
		if pod.Lingers(p) {
			in.Lingering = append(in.Lingering, p)
		}
		switch {
		case in.Run != nil && own(in.Run, p):
			in.Pod = p
		case !pod.Over(p):
			in.OtherPod = p.Name
		}
	}
	return nil
}

// look asks the API server itself for the Run's Pod: a cache may not have it yet.
func (r *Reconciler) look(ctx context.Context, in *Input) error {
	var p corev1.Pod
	err := r.Live.Get(ctx, types.NamespacedName{Namespace: in.Run.Namespace, Name: in.Run.Status.PodName}, &p)
	switch {
	case apierrors.IsNotFound(err):
		in.Gone = true
	case err != nil:
		return fmt.Errorf("reading Pod: %w", err)
	case !own(in.Run, &p):
		in.Gone = true
	default:
		in.Pod = &p
	}
	return nil
}
