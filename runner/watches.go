package runner

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/runner/inputs"
	"github.com/plumbline-dev/plumbline/runner/run"
)

// indexReferences finds the Workspaces whose inputs name a Secret or a ConfigMap.
const indexReferences = "references"

func indexes(ctx context.Context, mgr manager.Manager) error {
	byWorkspace := func(o client.Object) []string {
		if r, ok := o.(*v1alpha1.Run); ok {
			return []string{r.Spec.WorkspaceName}
		}
		return nil
	}
	if err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.Run{}, run.IndexWorkspace, byWorkspace); err != nil {
		return fmt.Errorf("indexing Runs: %w", err)
	}
	byReference := func(o client.Object) []string {
		if w, ok := o.(*v1alpha1.Workspace); ok {
			return inputs.References(w)
		}
		return nil
	}
	if err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.Workspace{}, indexReferences, byReference); err != nil {
		return fmt.Errorf("indexing Workspaces: %w", err)
	}
	return nil
}

// asked lets through what people write and not the status that the controller itself writes.
var asked = builder.WithPredicates(
	predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}, collected))

// collected lets through that the garbage collector takes its finalizer off a Workspace that is being deleted.
var collected = predicate.Funcs{
	CreateFunc:  func(event.CreateEvent) bool { return false },
	DeleteFunc:  func(event.DeleteEvent) bool { return false },
	GenericFunc: func(event.GenericEvent) bool { return false },
	UpdateFunc: func(e event.UpdateEvent) bool {
		return e.ObjectNew.GetDeletionTimestamp() != nil &&
			!slices.Equal(e.ObjectOld.GetFinalizers(), e.ObjectNew.GetFinalizers())
	},
}

// watchInputs begins a controller that works by Workspace: it looks again when a Run of the Workspace, its RunnerClass,
// or a Secret or ConfigMap that it refers to has changed.
func watchInputs(mgr manager.Manager) *builder.Builder {
	find := finder{mgr.GetClient()}
	return ctrl.NewControllerManagedBy(mgr).
		Watches(&v1alpha1.Run{}, handler.EnqueueRequestsFromMapFunc(workspaceOfRun)).
		Watches(&v1alpha1.RunnerClass{}, handler.EnqueueRequestsFromMapFunc(find.all)).
		WatchesMetadata(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(find.bySecret)).
		WatchesMetadata(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(find.byConfigMap))
}

func watchWorkspaces(mgr manager.Manager, o Options, r reconcile.Reconciler) error {
	err := watchInputs(mgr).
		For(&v1alpha1.Workspace{}, asked).
		WithOptions(controllerOptions(o)).
		Complete(r)
	if err != nil {
		return fmt.Errorf("setting up the Workspace controller: %w", err)
	}
	return nil
}

// watchRuns works by Workspace: see runner/run.
func watchRuns(mgr manager.Manager, o Options, r reconcile.Reconciler) error {
	err := watchInputs(mgr).
		Named("run").
		Watches(&v1alpha1.Workspace{}, &handler.EnqueueRequestForObject{}, asked).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(workspaceOfPod)).
		WithOptions(controllerOptions(o)).
		Complete(r)
	if err != nil {
		return fmt.Errorf("setting up the Run controller: %w", err)
	}
	return nil
}

// watchLost looks at the Runs whose credentials are to be revoked, after a restart of the controller too.
func watchLost(mgr manager.Manager, o Options, r reconcile.Reconciler) error {
	pending := builder.WithPredicates(predicate.NewPredicateFuncs(func(obj client.Object) bool {
		lost, ok := obj.(*v1alpha1.Run)
		return ok && lost.Status.Revocation == v1alpha1.RevocationPending
	}))
	err := ctrl.NewControllerManagedBy(mgr).
		Named("revoke").
		For(&v1alpha1.Run{}, pending).
		WithOptions(controllerOptions(o)).
		Complete(r)
	if err != nil {
		return fmt.Errorf("setting up the revocation: %w", err)
	}
	return nil
}

func workspaceOfRun(_ context.Context, o client.Object) []reconcile.Request {
	r, ok := o.(*v1alpha1.Run)
	if !ok {
		return nil
	}
	return one(r.Namespace, r.Spec.WorkspaceName)
}

// workspaceOfPod goes by an annotation, for a label can't hold every name.
func workspaceOfPod(_ context.Context, o client.Object) []reconcile.Request {
	if name := o.GetAnnotations()[v1alpha1.LabelWorkspace]; name != "" {
		return one(o.GetNamespace(), name)
	}
	return nil
}

func one(namespace, name string) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}}
}

// finder maps what Workspaces refer to back to them. A list that fails wakes nobody: every wait for something missing
// has a timer too.
type finder struct{ cache client.Reader }

func (f finder) all(ctx context.Context, _ client.Object) []reconcile.Request { return f.list(ctx) }

func (f finder) bySecret(ctx context.Context, o client.Object) []reconcile.Request {
	found := f.referring(ctx, o.GetNamespace(), inputs.SecretReference(o.GetName()))
	// The outputs' Secret is made anew when somebody edits or deletes it.
	if owner := metav1.GetControllerOf(o); owner != nil && owner.Kind == "Workspace" {
		found = append(found, one(o.GetNamespace(), owner.Name)...)
	}
	return found
}

func (f finder) byConfigMap(ctx context.Context, o client.Object) []reconcile.Request {
	return f.referring(ctx, o.GetNamespace(), inputs.ConfigMapReference(o.GetName()))
}

// referring are the Workspaces of a namespace that name the object, or whose RunnerClass may.
func (f finder) referring(ctx context.Context, namespace, reference string) []reconcile.Request {
	var classes v1alpha1.RunnerClassList
	if f.cache.List(ctx, &classes) == nil {
		for i := range classes.Items {
			if slices.Contains(inputs.TrustReferences(classes.Items[i].Spec.Trust), reference) {
				return f.list(ctx, client.InNamespace(namespace))
			}
		}
	}
	return f.list(ctx, client.InNamespace(namespace), client.MatchingFields{indexReferences: reference})
}

func (f finder) list(ctx context.Context, opts ...client.ListOption) []reconcile.Request {
	var all v1alpha1.WorkspaceList
	if err := f.cache.List(ctx, &all, opts...); err != nil {
		return nil
	}
	var requests []reconcile.Request
	for i := range all.Items {
		requests = append(requests, one(all.Items[i].Namespace, all.Items[i].Name)...)
	}
	return requests
}
