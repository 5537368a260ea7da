package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/e2e/stage"
)

const (
	namespace = "plumbline-bench"
	cleanup   = 5 * time.Minute

	onlyRuns  = "runs"
	onlyState = "state"
)

// bench is one run of the benchmark.
type bench struct {
	options
	stage *stage.Stage
	film  *film
	// image of the bare Pods, and the requests that they have in common with the runners.
	image     string
	resources corev1.ResourceRequirements
	began     time.Time
}

func perform(ctx context.Context, o options) (err error) {
	b := &bench{options: o, began: time.Now()}
	switch o.only {
	case "", onlyRuns:
	case onlyState:
		return b.measure(ctx, b.states)
	default:
		return fmt.Errorf("reading flags: -only %s is neither %s nor %s", o.only, onlyRuns, onlyState)
	}
	set := stage.Set
	if o.asIs {
		set = stage.Find
	}
	if b.stage, err = set(ctx, b.say); err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanup)
		defer cancel()
		b.say("leaving everything as it was found ...")
		err = errors.Join(err, b.stage.Leave(ctx, namespace), b.stage.Strike(ctx))
	}()
	if err := b.prepare(ctx); err != nil {
		return err
	}
	if o.only == onlyRuns {
		return b.measure(ctx, b.singles, b.batches, b.writes)
	}
	return b.measure(ctx, b.singles, b.batches, b.writes, b.states)
}

// measure reports what comes of each.
func (b *bench) measure(ctx context.Context, all ...func(context.Context, *report) error) error {
	var r report
	for _, measure := range all {
		if err := measure(ctx, &r); err != nil {
			return err
		}
	}
	fmt.Print(r.text())
	return r.save(b.output)
}

func (b *bench) prepare(ctx context.Context) (err error) {
	if b.image, err = bareImage(ctx, b.stage, b.say); err != nil {
		return err
	}
	if err := errors.Join(b.stage.Namespace(ctx, namespace), b.stage.Credentials(ctx, namespace)); err != nil {
		return err
	}
	if err := b.stage.Client.Create(ctx, config()); err != nil {
		return fmt.Errorf("creating the configuration: %w", err)
	}
	var classes v1alpha1.RunnerClassList
	if err := b.stage.Client.List(ctx, &classes); err != nil {
		return fmt.Errorf("reading RunnerClasses: %w", err)
	}
	for _, c := range classes.Items {
		marked := c.Annotations[v1alpha1.AnnotationDefaultClass] == "true"
		if t := c.Spec.PodTemplate; marked && t != nil && t.Resources != nil {
			b.resources = *t.Resources
		}
	}
	b.film, err = shoot(ctx, b.stage.Config, b.stage.Client, namespace)
	return err
}

// clear deletes what a sample made, and waits until it is gone: the next one is not to share the machine with it.
func (b *bench) clear(ctx context.Context, workspaces, pods []string) error {
	began := time.Now()
	for _, name := range workspaces {
		if err := b.remove(ctx, &v1alpha1.Workspace{}, name); err != nil {
			return err
		}
	}
	for _, name := range pods {
		if err := b.remove(ctx, &corev1.Pod{}, name); err != nil {
			return err
		}
		if err := b.remove(ctx, &corev1.ConfigMap{}, name); err != nil {
			return err
		}
	}
	for _, name := range append(workspaces, pods...) {
		if _, err := b.film.await(ctx, name+" to go", gone(name, began)); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) remove(ctx context.Context, o client.Object, name string) error {
	o.SetNamespace(namespace)
	o.SetName(name)
	if err := b.stage.Client.Delete(ctx, o); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting %q: %w", name, err)
	}
	return nil
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "[%6.1f s] "+format+"\n", append([]any{time.Since(b.began).Seconds()}, args...)...)
}
