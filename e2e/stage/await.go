package stage

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ErrNotSeen says that what was waited for did not come in time.
var ErrNotSeen = errors.New("not seen in time")

// Wanted is what is waited for. T is the pointer type of the object, such as *corev1.ConfigMap.
type Wanted[T client.Object] struct {
	// Object has the namespace and the name.
	Object T
	// List is an empty list of such objects.
	List client.ObjectList
	// What it is, for the error.
	What string
	// Within is how long it may take.
	Within time.Duration
	// Met tells whether the object is as wanted. exists is false when there is none, and the object then as it last was.
	Met func(o T, exists bool) bool
}

// Await watches an object until it is as wanted.
func Await[T client.Object](ctx context.Context, c client.WithWatch, w Wanted[T]) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, w.Within)
	defer cancel()
	last := w.Object
	absent := func(store cache.Store) (bool, error) { return len(store.List()) == 0 && w.Met(last, false), nil }
	seen := func(e watch.Event) (bool, error) {
		o, ok := e.Object.(T)
		if !ok {
			return false, fmt.Errorf("watching: unexpected %T", e.Object)
		}
		last = o
		return w.Met(o, e.Type != watch.Deleted), nil
	}
	_, err := watchtools.UntilWithSync(ctx, w.listWatch(ctx, c), w.Object, absent, seen)
	if err != nil && ctx.Err() != nil {
		return last, fmt.Errorf("%w (%s): %s", ErrNotSeen, w.Within, w.What)
	}
	return last, err
}

func (w Wanted[T]) listWatch(ctx context.Context, c client.WithWatch) cache.ListerWatcher {
	only := func(o metav1.ListOptions) *client.ListOptions {
		return &client.ListOptions{
			Namespace:     w.Object.GetNamespace(),
			FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, w.Object.GetName()),
			Raw:           &o,
		}
	}
	copied := func() client.ObjectList {
		return w.List.DeepCopyObject().(client.ObjectList)
	}
	return &cache.ListWatch{
		ListWithContextFunc: func(_ context.Context, o metav1.ListOptions) (runtime.Object, error) {
			list := copied()
			return list, c.List(ctx, list, only(o))
		},
		WatchFuncWithContext: func(_ context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return c.Watch(ctx, copied(), only(o))
		},
	}
}
