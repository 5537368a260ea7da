package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/runner/inputs"
	"github.com/plumbline-dev/plumbline/runner/names"
	"github.com/plumbline-dev/plumbline/runner/pod"
	"github.com/plumbline-dev/plumbline/runner/render"
)

// missingPatience is when to look again for something missing, should its appearance go unseen.
const missingPatience = 5 * time.Minute

// act does one thing and leaves in the Run's status what is to be written at the end of the pass.
func (r *Reconciler) act(ctx context.Context, in Input, d Decision) error {
	if d.Do == Clear || d.Do == End || d.Do == Abandon {
		if err := r.deletePod(ctx, in.Pod); err != nil {
			return err
		}
	}
	switch d.Do {
	case Note, Clear, End:
		note(in.Run, d.Reason, d.Message)
		in.Run.Status.Refused = d.Refusal
		if gone := in.Run.Status.PodGoneAt; d.Gone && (gone == nil || gone.After(in.Now)) {
			in.Run.Status.PodGoneAt = &metav1.Time{Time: in.Now}
		}
	case Finish, Abandon:
		in.Run.Status.Refused = nil
		given(in)
		if d.Result == nil {
			d.Message += r.releaseLock(ctx, in, in.Run)
		}
		in.Run.Status.Sequence = in.Sequence
		finished(in.Run, d, in.Now)
		bereaved(in, d)
	}
	return nil
}

// given says of a Run that ends before its launch what it would have been given, so that the same isn't tried again.
func given(in Input) {
	s := &in.Run.Status
	if s.StartedAt != nil || in.Workspace == nil {
		return
	}
	s.InputsDigest = in.Run.Spec.InputsDigest
	s.WorkspaceGeneration = in.Workspace.Generation
}

// prepared is a Pod that is ready to be created, what its Secret holds, and the place of its state.
type prepared struct {
	*corev1.Pod
	content
	place v1alpha1.StatePlace
}

// content is what a Secret holds: the digests of the inputs, and of the files that were rendered from them.
type content struct{ digest, files string }

func (r *Reconciler) prepare(ctx context.Context, in Input) (prepared, error) {
	if err := r.adopt(ctx, in); err != nil {
		return prepared{}, err
	}
	class, err := inputs.Class(ctx, r.Client, in.Workspace)
	if err != nil {
		return prepared{}, err
	}
	err = errors.Join(inputs.CheckVault(in.Workspace, class), inputs.CheckTemplates(in.Workspace, class),
		inputs.Trust(ctx, r.Live, in.Workspace, class), inputs.Volumes(ctx, r.Live, in.Workspace, class))
	if err != nil {
		return prepared{}, err
	}
	state, err := r.State()
	if err != nil {
		return prepared{}, fmt.Errorf("finding the state service: %w", err)
	}
	places, err := r.places(ctx, in)
	if err != nil {
		return prepared{}, err
	}
	secret, holds, err := r.secret(ctx, in)
	if err != nil {
		return prepared{}, err
	}
	p := pod.Build(pod.Input{
		Run: in.Run, Workspace: in.Workspace, Class: class, SecretName: secret, State: state,
		Place: places.wanted, Former: places.former, FilesDigest: holds.files,
	})
	return prepared{Pod: p, content: holds, place: places.given()}, nil
}

// adopt makes the Workspace the owner of a Run that a person created.
func (r *Reconciler) adopt(ctx context.Context, in Input) error {
	if metav1.IsControlledBy(in.Run, in.Workspace) {
		return nil
	}
	before := in.Run.DeepCopy()
	if err := controllerutil.SetControllerReference(in.Workspace, in.Run, r.Client.Scheme()); err != nil {
		return fmt.Errorf("owning Run: %w", err)
	}
	if in.Run.Labels == nil {
		in.Run.Labels = map[string]string{}
	}
	in.Run.Labels[v1alpha1.LabelWorkspace] = names.Label(in.Workspace.Name)
	if err := r.Client.Patch(ctx, in.Run,
		client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("owning Run: %w", err)
	}
	return nil
}

// secret makes sure that the Secret with the Run's files exists, and returns its name and what it holds. A destruction
// uses the files of the last apply where the present inputs are missing, wrong, or refused by Terraform; a failed read
// is none of these.
func (r *Reconciler) secret(ctx context.Context, in Input) (name string, holds content, err error) {
	bundle, err := inputs.Bundle(ctx, r.Live, in.Workspace)
	if err == nil {
		if err = refusedInputs(in, bundle.Digest); err == nil {
			return r.filesOf(ctx, in, bundle)
		}
	}
	if !fallsBack(in) || !unusable(err) {
		return "", content{}, err
	}
	// What the Pod mounts beside the files is as it is now.
	if missing := inputs.Mounted(ctx, r.Live, in.Workspace); missing != nil {
		return "", content{}, missing
	}
	applied := in.Workspace.Status.Applied
	name = SecretName(in.Workspace.Name, applied.InputsDigest, applied.FilesDigest)
	if exists, lookErr := r.owns(ctx, in.Workspace, name); lookErr != nil || !exists {
		return "", content{}, errors.Join(err, lookErr)
	}
	return name, content{applied.InputsDigest, applied.FilesDigest}, nil
}

// unusable tells inputs that are missing or wrong from inputs that could not be read.
func unusable(err error) bool {
	var missing *inputs.MissingError
	var invalid *inputs.InvalidError
	return errors.As(err, &missing) || errors.As(err, &invalid)
}

// filesOf makes the Secret of a bundle unless it is there.
func (r *Reconciler) filesOf(ctx context.Context, in Input, bundle render.Bundle) (string, content, error) {
	holds := content{bundle.Digest, bundle.FilesDigest}
	name := SecretName(in.Workspace.Name, bundle.Digest, bundle.FilesDigest)
	exists, err := r.owns(ctx, in.Workspace, name)
	if err != nil || exists {
		return name, holds, err
	}
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: in.Workspace.Namespace,
			Name:      name,
			Labels: map[string]string{
				pod.LabelName:           pod.Name,
				v1alpha1.LabelWorkspace: names.Label(in.Workspace.Name),
				LabelInputs:             "true",
			},
		},
		Immutable: new(true),
		Data:      bundle.Data,
	}
	if err := controllerutil.SetControllerReference(in.Workspace, s, r.Client.Scheme()); err != nil {
		return "", content{}, fmt.Errorf("owning Secret: %w", err)
	}
	if err := r.Client.Create(ctx, s); err != nil && !apierrors.IsAlreadyExists(err) {
		return "", content{}, refused(fmt.Sprintf("creating Secret %q with the Run's inputs", name), err)
	}
	return name, holds, nil
}

// LabelInputs marks the Secrets that hold a Workspace's rendered files.
const LabelInputs = "plumbline.dev/inputs"

// SecretName is the Secret that the Runs with the same inputs share. The digest of its files is in the name: a release
// that renders the same inputs in another way makes another Secret, and starts no Run for it. Earlier releases had no
// such digest.
func SecretName(workspace, digest, files string) string {
	suffix := digest[:min(10, len(digest))]
	if files != "" {
		suffix += "-" + files[:min(8, len(files))]
	}
	return names.Join(workspace, suffix)
}

// owns tells whether a Secret exists and belongs to the Workspace; one that belongs to something else is an error.
func (r *Reconciler) owns(ctx context.Context, w *v1alpha1.Workspace, name string) (bool, error) {
	s := metav1.PartialObjectMetadata{}
	s.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	err := r.Live.Get(ctx, types.NamespacedName{Namespace: w.Namespace, Name: name}, &s)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading Secret %q: %w", name, err)
	}
	if w.DeletionTimestamp != nil && metav1.GetControllerOf(&s) == nil && s.Labels[LabelInputs] == "true" {
		return true, nil // cascade=orphan has taken the owner off it; that it holds what it should the driver checks
	}
	if !metav1.IsControlledBy(&s, w) {
		return false, fmt.Errorf("using Secret %q: %w", name, errNotOurs)
	}
	return true, nil
}

// sweep ends the Pods of Runs whose driver has ended. The one whose Run is still to be finished is left until it is.
func (r *Reconciler) sweep(ctx context.Context, in Input) error {
	for _, p := range in.Lingering {
		if p == in.Pod {
			continue
		}
		if err := r.deletePod(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reconciler) deletePod(ctx context.Context, p *corev1.Pod) error {
	if p == nil || p.DeletionTimestamp != nil {
		return nil
	}
	err := r.Client.Delete(ctx, p, client.Preconditions{UID: &p.UID})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("deleting Pod: %w", err)
	}
	return nil
}
