package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
)

// frame is one version of an object, and when the watch brought it.
type frame struct {
	at      time.Time
	object  client.Object
	deleted bool
}

// film keeps every version of the Pods, Runs and Workspaces of a namespace, as watches bring them. All that is measured
// is read off it, for the bare Pods and for the Workspaces alike.
type film struct {
	mu     sync.Mutex
	frames []frame
	// more is closed, and replaced, when a frame comes.
	more chan struct{}
}

// errUnwatched says that a watch could not be set up.
var errUnwatched = errors.New("the watches did not start")

func shoot(ctx context.Context, config *rest.Config, c client.Client, namespace string) (*film, error) {
	f := &film{more: make(chan struct{})}
	watches, err := cache.New(config, cache.Options{
		Scheme: c.Scheme(), Mapper: c.RESTMapper(), DefaultNamespaces: map[string]cache.Config{namespace: {}},
	})
	if err != nil {
		return nil, fmt.Errorf("watching: %w", err)
	}
	go func() { _ = watches.Start(ctx) }() // it ends with ctx; what it can't read is missed by whoever awaits it
	for _, o := range []client.Object{&corev1.Pod{}, &v1alpha1.Run{}, &v1alpha1.Workspace{}} {
		informer, err := watches.GetInformer(ctx, o)
		if err != nil {
			return nil, fmt.Errorf("watching: %w", err)
		}
		if _, err := informer.AddEventHandler(f); err != nil {
			return nil, fmt.Errorf("watching: %w", err)
		}
	}
	if !watches.WaitForCacheSync(ctx) {
		return nil, errors.Join(errUnwatched, ctx.Err())
	}
	return f, nil
}

// OnAdd is part of cache.ResourceEventHandler.
func (f *film) OnAdd(o any, _ bool) { f.add(o, false) }

// OnUpdate is part of cache.ResourceEventHandler.
func (f *film) OnUpdate(_, o any) { f.add(o, false) }

// OnDelete is part of cache.ResourceEventHandler.
func (f *film) OnDelete(o any) {
	if unknown, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
		o = unknown.Obj
	}
	f.add(o, true)
}

func (f *film) add(o any, deleted bool) {
	at := time.Now()
	object, ok := o.(client.Object)
	if !ok {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.frames = append(f.frames, frame{at: at, object: object, deleted: deleted})
	close(f.more)
	f.more = make(chan struct{})
}

// scene tells whether a frame is the one that is looked for.
type scene func(frame) bool

// first finds the first frame of a scene.
func (f *film) first(is scene) (frame, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, x := range f.frames {
		if is(x) {
			return x, true
		}
	}
	return frame{}, false
}

// await waits for a scene that was or is to come.
func (f *film) await(ctx context.Context, what string, is scene) (frame, error) {
	for next := 0; ; {
		f.mu.Lock()
		frames, more := f.frames, f.more
		f.mu.Unlock()
		for ; next < len(frames); next++ {
			if is(frames[next]) {
				return frames[next], nil
			}
		}
		select {
		case <-more:
		case <-ctx.Done():
			return frame{}, fmt.Errorf("waiting for %s: %w", what, ctx.Err())
		}
	}
}
