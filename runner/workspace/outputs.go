package workspace

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/runner/names"
	"github.com/plumbline-dev/plumbline/runner/pod"
)

const (
	labelOutputs      = "plumbline.dev/outputs"
	annotationOutputs = "plumbline.dev/outputs-digest"
	// annotationRead is the digest that the Run told which read the outputs: a driver of another release may count
	// otherwise, and equal outputs are not to be fetched at each look.
	annotationRead = "plumbline.dev/outputs-read"
)

// refusedPause is when an outputs' Secret that was refused is tried again: nobody says when a quota or a webhook would
// take it.
const refusedPause = 30 * time.Second

// Delivery is why the outputs of the last apply don't stand in their Secret; empty if they do, or there are none yet.
type Delivery struct {
	// Reason and Message are what Ready says.
	Reason, Message string
	// Again is when to try again; zero for not by time alone.
	Again time.Duration
}

// deliver hands the outputs on. It comes before the next Run is made: where one is always due already, there is no
// other time. An error is of the surroundings, and is to be tried again soon; a Workspace whose outputs were delivered
// before stays Ready meanwhile.
func (r *Reconciler) deliver(ctx context.Context, in Input) (Delivery, error) {
	err := r.outputs(ctx, in)
	if err == nil {
		return Delivery{}, nil
	}
	if e, ok := errors.AsType[*refusedError](err); ok {
		return Delivery{e.reason, e.Error(), refusedPause}, nil
	}
	switch {
	case errors.Is(err, errNotOurs):
		return Delivery{v1alpha1.ReasonNameConflict, err.Error(), refusedPause}, nil
	case delivered(in):
		return Delivery{}, err
	case errors.Is(err, errState):
		return Delivery{Reason: string(job.StateUnavailable), Message: err.Error()}, err
	}
	return Delivery{Reason: v1alpha1.ReasonProgressing, Message: err.Error()}, err
}

// delivered tells whether the Workspace was called Ready after its last apply.
func delivered(in Input) bool {
	c, a := readyNow(in.Workspace), in.Workspace.Status.Applied
	return c != nil && c.Status == metav1.ConditionTrue && a != nil && a.Run == in.Last.Name
}

// undelivered is what Ready says as long as the outputs don't stand in their Secret.
func undelivered(d Delivery, c metav1.Condition) metav1.Condition {
	c.Reason, c.Message = d.Reason, d.Message
	if d.Reason == v1alpha1.ReasonProgressing {
		c.Status = metav1.ConditionUnknown
	}
	return c
}

// outputs makes the outputs' Secret say what the last apply said. A Secret that was edited or deleted by hand is made
// anew. A Run that changed nothing read no outputs, so then the Secret has only to agree with itself.
func (r *Reconciler) outputs(ctx context.Context, in Input) error {
	w := in.Workspace
	switch {
	case w.DeletionTimestamp != nil || in.Active != nil:
		return nil
	case empty(in):
		return r.withdraw(ctx, w)
	case !applied(in.Last):
		return nil
	}
	secret, err := r.outputsSecret(ctx, w)
	if err != nil {
		return err
	}
	want := in.Last.Status.OutputsDigest
	same, err := intact(secret, want)
	if err != nil || same {
		return err
	}
	values, err := r.State.Outputs(ctx, w.Namespace, w.Name)
	if err != nil {
		return fmt.Errorf("%w: reading outputs: %w", errState, err)
	}
	if want != "" {
		secret.Annotations = merge(secret.Annotations, map[string]string{annotationRead: want})
	}
	return r.writeOutputs(ctx, w, secret, job.SecretData(values))
}

// withdraw deletes the outputs of what is no more.
func (r *Reconciler) withdraw(ctx context.Context, w *v1alpha1.Workspace) error {
	s, err := r.outputsSecret(ctx, w)
	if errors.Is(err, errNotOurs) || err == nil && s.ResourceVersion == "" {
		return nil
	}
	if err != nil {
		return err
	}
	if err := r.Client.Delete(ctx, s, client.Preconditions{UID: &s.UID}); client.IgnoreNotFound(err) != nil {
		return refused(fmt.Sprintf("deleting the outputs' Secret %q", s.Name), err)
	}
	return nil
}

// outputsStand is the name of the Secret in which the outputs stand. It stays what it was for as long as a Run goes on,
// or they can't be delivered.
func outputsStand(in Input) string {
	before := in.Workspace.Status.OutputsSecretName
	switch {
	case in.Workspace.DeletionTimestamp != nil, in.Active != nil, in.Delivery.Reason != "":
		return before
	case empty(in):
		return ""
	case applied(in.Last):
		return outputsName(in.Workspace)
	}
	return before
}

// applied tells whether a Run brought the infrastructure to what its inputs say.
func applied(r *v1alpha1.Run) bool {
	return r != nil && r.Spec.Operation == v1alpha1.OperationApply && succeeded(r)
}

func outputsName(w *v1alpha1.Workspace) string {
	if w.Spec.Outputs != nil && w.Spec.Outputs.SecretName != "" {
		return w.Spec.Outputs.SecretName
	}
	return names.JoinObject(w.Name, "outputs")
}

// outputsSecret reads the Secret; one without a resource version stands for none.
func (r *Reconciler) outputsSecret(ctx context.Context, w *v1alpha1.Workspace) (*corev1.Secret, error) {
	var s corev1.Secret
	name := outputsName(w)
	err := r.Live.Get(ctx, types.NamespacedName{Namespace: w.Namespace, Name: name}, &s)
	if apierrors.IsNotFound(err) {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading Secret %q: %w", name, err)
	}
	if !metav1.IsControlledBy(&s, w) {
		return nil, fmt.Errorf("writing outputs to Secret %q: %w", name, errNotOurs)
	}
	return &s, nil
}

// intact tells whether the Secret's data is what was written there, and of the wanted digest when one is known.
func intact(s *corev1.Secret, want string) (bool, error) {
	if s.ResourceVersion == "" {
		return false, nil
	}
	digest, err := job.DigestOutputs(s.Data)
	if err != nil {
		return false, err
	}
	wanted := want == "" || want == digest || want == s.Annotations[annotationRead]
	return wanted && digest == s.Annotations[annotationOutputs], nil
}

func (r *Reconciler) writeOutputs(ctx context.Context, w *v1alpha1.Workspace, s *corev1.Secret,
	data map[string][]byte) error {
	digest, err := job.DigestOutputs(data)
	if err != nil {
		return err
	}
	s.Data = data
	s.Labels = merge(s.Labels, map[string]string{
		pod.LabelName: pod.Name, v1alpha1.LabelWorkspace: names.Label(w.Name), labelOutputs: "true",
	})
	s.Annotations = merge(s.Annotations, map[string]string{annotationOutputs: digest})
	if err := controllerutil.SetControllerReference(w, s, r.Client.Scheme()); err != nil {
		return fmt.Errorf("owning Secret: %w", err)
	}
	if s.ResourceVersion == "" {
		err = r.Client.Create(ctx, s)
	} else {
		err = r.Client.Update(ctx, s)
	}
	if err != nil {
		return refused(fmt.Sprintf("writing outputs to Secret %q", s.Name), err)
	}
	return nil
}

func merge(a, b map[string]string) map[string]string {
	if a == nil {
		a = map[string]string{}
	}
	maps.Copy(a, b)
	return a
}
