package server

import (
	"context"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/state"
)

// +kubebuilder:rbac:groups=authorization.k8s.io,resources=subjectaccessreviews,verbs=create
// +kubebuilder:rbac:groups=plumbline.dev,resources=workspaces,verbs=list

// right is what RBAC grants, in the group of Workspaces and Runs.
type right struct{ resource, subresource, verb string }

// Asked is a right on one object.
type Asked struct {
	right
	Namespace, Name string
}

// Run is a Run that there is.
type Run struct {
	UID string
	// Workspace is the name of the one that it is of.
	Workspace string
	Created   time.Time
}

// People tells who calls through the API server, and what they may.
type People interface {
	// May returns nil when the user has the right, ErrForbidden when not.
	May(ctx context.Context, user authenticationv1.UserInfo, a Asked) error
	// Run returns the Run of that name, or ErrNotFound.
	Run(ctx context.Context, namespace, name string) (Run, error)
	// WorkspaceUIDs are those of the Workspaces of a namespace, or of all if that is empty.
	WorkspaceUIDs(ctx context.Context, namespace string) (map[string]bool, error)
}

var _ People = (*Cluster)(nil)

// May implements People.
func (c *Cluster) May(ctx context.Context, user authenticationv1.UserInfo, a Asked) error {
	extra := make(map[string]authorizationv1.ExtraValue, len(user.Extra))
	for key, values := range user.Extra {
		extra[key] = authorizationv1.ExtraValue(values)
	}
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user.Username, UID: user.UID, Groups: user.Groups, Extra: extra,
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: a.Namespace, Name: a.Name, Verb: a.verb,
			Group: v1alpha1.GroupVersion.Group, Version: v1alpha1.GroupVersion.Version,
			Resource: a.resource, Subresource: a.subresource,
		},
	}}
	if err := c.client.Create(ctx, review); err != nil {
		return fmt.Errorf("reviewing what a user may: %w", err)
	}
	if !review.Status.Allowed || review.Status.Denied {
		return fmt.Errorf("%w: user %q needs the right to %s %s/%s %q in group %q in the namespace %q", ErrForbidden,
			user.Username, a.verb, a.resource, a.subresource, a.Name, v1alpha1.GroupVersion.Group, a.Namespace)
	}
	return nil
}

// Run implements People.
func (c *Cluster) Run(ctx context.Context, namespace, name string) (Run, error) {
	run := &v1alpha1.Run{}
	err := c.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, run)
	if notFound(err) {
		return Run{}, fmt.Errorf("run %s/%s: %w", namespace, name, state.ErrNotFound)
	}
	if err != nil {
		return Run{}, fmt.Errorf("reading run: %w", err)
	}
	return Run{UID: string(run.UID), Workspace: run.Spec.WorkspaceName, Created: run.CreationTimestamp.Time}, nil
}

// WorkspaceUIDs implements People.
func (c *Cluster) WorkspaceUIDs(ctx context.Context, namespace string) (map[string]bool, error) {
	var list metav1.PartialObjectMetadataList
	list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("WorkspaceList"))
	if err := c.client.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("listing workspaces: %w", err)
	}
	uids := make(map[string]bool, len(list.Items))
	for i := range list.Items {
		uids[string(list.Items[i].UID)] = true
	}
	return uids, nil
}
