package kit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
)

// Await watches an object until a condition holds, and leaves it in o. It fails the test when the patience ends. The
// object need not exist yet, and the API server may go away in between.
func Await[O client.Object](t testing.TB, s *Space, o O, holds func(O) bool) {
	t.Helper()
	ctx, cancel := s.deadline(t)
	defer cancel()
	err := s.await(ctx, o, func(found client.Object) bool {
		typed, ok := found.(O)
		return ok && holds(typed)
	})
	if err != nil {
		t.Fatalf("waiting for %T %q: %v", o, o.GetName(), err)
	}
}

// await watches one object; holds is called with nil while it does not exist.
func (k *Kit) await(ctx context.Context, o client.Object, holds func(client.Object) bool) error {
	list, err := k.listOf(o)
	if err != nil {
		return err
	}
	only := client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector("metadata.name", o.GetName())}
	return k.awaitAll(ctx, list, func(all set) bool {
		found := all[o.GetName()]
		if found != nil {
			reflect.ValueOf(o).Elem().Set(reflect.ValueOf(found).Elem())
			return holds(o)
		}
		return holds(nil)
	}, client.InNamespace(o.GetNamespace()), only)
}

// listOf is an empty list of the object's kind.
func (k *Kit) listOf(o client.Object) (client.ObjectList, error) {
	kind, err := k.GroupVersionKindFor(o)
	if err != nil {
		return nil, err
	}
	kind.Kind += "List"
	made, err := k.Scheme().New(kind)
	if err != nil {
		return nil, err
	}
	list, ok := made.(client.ObjectList)
	if !ok {
		return nil, fmt.Errorf("%s is not a list", kind.Kind)
	}
	return list, nil
}

// set is a list's objects by name.
type set map[string]client.Object

// awaitAll watches a list until a condition on all of it holds. That the API server goes away in between is no error.
func (k *Kit) awaitAll(
	ctx context.Context, list client.ObjectList, holds func(set) bool, opts ...client.ListOption,
) error {
	for {
		done, err := k.follow(ctx, list, holds, opts)
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// follow is one read, and one watch from there on.
func (k *Kit) follow(
	ctx context.Context, list client.ObjectList, holds func(set) bool, opts []client.ListOption,
) (bool, error) {
	if err := k.List(ctx, list, opts...); err != nil {
		return false, err
	}
	items, err := apimeta.ExtractList(list)
	if err != nil {
		return false, err
	}
	all := set{}
	for _, item := range items {
		all.apply(watch.Added, item)
	}
	if holds(all) {
		return true, nil
	}
	from := &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: list.GetResourceVersion()}}
	events, err := k.Watch(ctx, list, append(slices.Clone(opts), from)...)
	if err != nil {
		return false, err
	}
	defer events.Stop()
	for event := range events.ResultChan() {
		if event.Type == watch.Error {
			return false, apierrors.FromObject(event.Object)
		}
		if all.apply(event.Type, event.Object); holds(all) {
			return true, nil
		}
	}
	return false, errors.New("the watch ended")
}

func (s set) apply(kind watch.EventType, item runtime.Object) {
	o, ok := item.(client.Object)
	switch {
	case !ok || kind == watch.Bookmark:
	case kind == watch.Deleted:
		delete(s, o.GetName())
	default:
		s[o.GetName()] = o
	}
}

func (k *Kit) gone(ctx context.Context, o client.Object) error {
	return k.await(ctx, o, func(found client.Object) bool { return found == nil })
}

// AwaitGone waits until an object does not exist any more.
func (s *Space) AwaitGone(t testing.TB, o client.Object) {
	t.Helper()
	ctx, cancel := s.deadline(t)
	defer cancel()
	if err := s.gone(ctx, o); err != nil {
		t.Fatalf("waiting for %T %q to go away: %v", o, o.GetName(), err)
	}
}

// AwaitReady waits until a Workspace is Ready for its present generation.
func (s *Space) AwaitReady(t testing.TB, w *v1alpha1.Workspace) {
	t.Helper()
	Await(t, s, w, Ready)
}

// Ready tells whether a Workspace is Ready for its present generation.
func Ready(w *v1alpha1.Workspace) bool {
	c := Condition(w, v1alpha1.ConditionReady)
	return c.Status == "True" && c.ObservedGeneration == w.Generation && w.Status.ObservedGeneration == w.Generation
}

// AwaitReason waits until Ready is not True for a reason, which is returned with its message.
func (s *Space) AwaitReason(t testing.TB, w *v1alpha1.Workspace, reason job.Class) string {
	t.Helper()
	Await(t, s, w, func(w *v1alpha1.Workspace) bool {
		c := Condition(w, v1alpha1.ConditionReady)
		return c.Status != "True" && c.Reason == string(reason)
	})
	return Condition(w, v1alpha1.ConditionReady).Message
}

// AwaitRun waits for a finished Run of the Workspace that fits, and returns it.
func (s *Space) AwaitRun(t testing.TB, w *v1alpha1.Workspace, what string, fits runs) *v1alpha1.Run {
	t.Helper()
	return s.awaitRun(t, w, what, func(r *v1alpha1.Run) bool { return r.Status.FinishedAt != nil && fits(r) })
}

// runs picks some.
type runs = func(*v1alpha1.Run) bool

// AwaitPod waits until a Run of the Workspace has a Pod, and returns the Run.
func (s *Space) AwaitPod(t testing.TB, w *v1alpha1.Workspace) *v1alpha1.Run {
	t.Helper()
	return s.awaitRun(t, w, "in a Pod", func(r *v1alpha1.Run) bool {
		return r.Status.PodName != "" && r.Status.FinishedAt == nil
	})
}

func (s *Space) awaitRun(t testing.TB, w *v1alpha1.Workspace, what string, fits runs) *v1alpha1.Run {
	t.Helper()
	ctx, cancel := s.deadline(t)
	defer cancel()
	var found *v1alpha1.Run
	err := s.awaitAll(ctx, &v1alpha1.RunList{}, func(all set) bool {
		for _, o := range all {
			if r, ok := o.(*v1alpha1.Run); ok && r.Spec.WorkspaceName == w.Name && fits(r) {
				found = r
			}
		}
		return found != nil
	}, client.InNamespace(s.Name))
	if err != nil {
		t.Fatalf("waiting for a Run of %q that is %s: %v", w.Name, what, err)
	}
	return found
}

// Runs are the Workspace's, oldest first.
func (s *Space) Runs(t testing.TB, w *v1alpha1.Workspace) []v1alpha1.Run {
	t.Helper()
	var list v1alpha1.RunList
	if err := s.List(t.Context(), &list, client.InNamespace(s.Name)); err != nil {
		t.Fatalf("listing Runs: %v", err)
	}
	runs := slices.DeleteFunc(list.Items, func(r v1alpha1.Run) bool { return r.Spec.WorkspaceName != w.Name })
	slices.SortFunc(runs, func(a, b v1alpha1.Run) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	return runs
}

// Condition is one of the Workspace's, empty when it has none of the type.
func Condition(w *v1alpha1.Workspace, kind string) metav1.Condition {
	if c := apimeta.FindStatusCondition(w.Status.Conditions, kind); c != nil {
		return *c
	}
	return metav1.Condition{}
}

// AwaitAny waits until one object of a kind, anywhere in the namespace, fits.
func (s *Space) AwaitAny(t testing.TB, list client.ObjectList, what string, fits func(client.Object) bool) {
	t.Helper()
	ctx, cancel := s.deadline(t)
	defer cancel()
	err := s.awaitAll(ctx, list, func(all set) bool {
		for _, o := range all {
			if fits(o) {
				return true
			}
		}
		return false
	}, client.InNamespace(s.Name))
	if err != nil {
		t.Fatalf("waiting until %s: %v", what, err)
	}
}

// AwaitNoPods waits until the namespace has no Pod, not even an ended one.
func (s *Space) AwaitNoPods(t testing.TB) {
	t.Helper()
	ctx, cancel := s.deadline(t)
	defer cancel()
	err := s.awaitAll(ctx, &corev1.PodList{}, func(all set) bool { return len(all) == 0 }, client.InNamespace(s.Name))
	if err != nil {
		t.Fatalf("waiting for Pods to go away: %v", err)
	}
}
