package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/e2e/bench/timings"
)

const sampleTimeout = 5 * time.Minute

var errFailed = errors.New("it failed, so there is nothing to measure")

// sample is one measurement: how long until the end, and when what came before the end was seen.
type sample struct {
	total  time.Duration
	phases []phase
}

// phase is a moment after the beginning, or, if it is a step, how long something took within.
type phase struct {
	name string
	at   time.Duration
	step bool
}

// singles takes samples by turns, so that whatever else the machine does hits all kinds alike. The first round only
// warms caches.
func (b *bench) singles(ctx context.Context, r *report) error {
	var bare, fresh, check series
	for i := range b.samples + 1 {
		one, err := b.round(ctx, i)
		if err != nil {
			return err
		}
		b.say("round %d of %d: bare Pod %.2f s, Workspace %.2f s, check %.2f s",
			i, b.samples, one[0].total.Seconds(), one[1].total.Seconds(), one[2].total.Seconds())
		if i > 0 {
			bare, fresh, check = append(bare, one[0]), append(fresh, one[1]), append(check, one[2])
		}
	}
	r.singles(bare, fresh, check)
	return nil
}

func (b *bench) round(ctx context.Context, i int) (all [3]sample, err error) {
	ctx, cancel := context.WithTimeout(ctx, sampleTimeout)
	defer cancel()
	pod, ws := fmt.Sprintf("bare-%d", i), fmt.Sprintf("ours-%d", i)
	if all[0], err = b.bare(ctx, pod); err != nil {
		return all, err
	}
	if err := b.clear(ctx, nil, []string{pod}); err != nil {
		return all, err
	}
	if all[1], err = b.fresh(ctx, ws); err != nil {
		return all, err
	}
	if all[2], err = b.check(ctx, ws); err != nil {
		return all, err
	}
	return all, b.clear(ctx, []string{ws}, nil)
}

// bare is a Pod from its creation to Succeeded.
func (b *bench) bare(ctx context.Context, name string) (sample, error) {
	began := time.Now()
	if err := b.stage.Client.Create(ctx, barePod(name, b.image, b.resources)); err != nil {
		return sample{}, fmt.Errorf("creating a bare Pod: %w", err)
	}
	end, err := b.film.await(ctx, "Pod "+name, pod(name, over))
	if err != nil {
		return sample{}, err
	}
	if p := end.object.(*corev1.Pod); p.Status.Phase != corev1.PodSucceeded {
		return sample{}, fmt.Errorf("bare Pod %s: %w", name, errFailed)
	}
	s := sample{total: end.at.Sub(began)}
	s.see(b.film, began, "Pod created", pod(name, exists))
	s.see(b.film, began, "Pod scheduled", pod(name, scheduled))
	s.told(began, end.object)
	s.phases = append(s.phases, phase{name: "Succeeded", at: s.total})
	return s, nil
}

// told adds what the Pod says of itself; its clock is this machine's when its node is.
func (s *sample) told(began time.Time, o client.Object) {
	p, ok := o.(*corev1.Pod)
	if !ok || len(p.Status.ContainerStatuses) == 0 || p.Status.ContainerStatuses[0].State.Terminated == nil {
		return
	}
	var t timings.Bare
	if json.Unmarshal([]byte(p.Status.ContainerStatuses[0].State.Terminated.Message), &t) != nil {
		return
	}
	s.phases = append(s.phases, phase{name: "process began", at: t.Began.Sub(began)})
	for _, step := range t.Steps {
		s.phases = append(s.phases, phase{name: step.Name, at: step.Took, step: true})
	}
	s.phases = append(s.phases, phase{name: "process ended", at: t.Ended.Sub(began)})
}

func (s *sample) see(f *film, began time.Time, name string, is scene) {
	if x, ok := f.first(is); ok {
		s.phases = append(s.phases, phase{name: name, at: x.at.Sub(began)})
	}
}

// fresh is a Workspace from its creation to Ready.
func (b *bench) fresh(ctx context.Context, name string) (sample, error) {
	w, err := newWorkspace(name)
	if err != nil {
		return sample{}, err
	}
	began := time.Now()
	if err := b.stage.Client.Create(ctx, w); err != nil {
		return sample{}, fmt.Errorf("creating a Workspace: %w", err)
	}
	return b.until(ctx, name, "", began)
}

// check is a Workspace that nothing has changed in, from a new rerun annotation to Ready again.
func (b *bench) check(ctx context.Context, name string) (sample, error) {
	var w v1alpha1.Workspace
	if err := b.stage.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, &w); err != nil {
		return sample{}, fmt.Errorf("reading a Workspace: %w", err)
	}
	if w.Status.LastRun == nil {
		return sample{}, fmt.Errorf("checking Workspace %s: %w", name, errFailed)
	}
	// A check comes to a Workspace at rest; right after a Run it would wait until the kubelet tells that the Pod ended.
	if _, err := b.film.await(ctx, "the end of the last Pod", pod(w.Status.LastRun.Name, over)); err != nil {
		return sample{}, err
	}
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:"%d"}}}`, v1alpha1.AnnotationRerun, time.Now().UnixNano())
	began := time.Now()
	if err := b.stage.Client.Patch(ctx, &w, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		return sample{}, fmt.Errorf("asking for a rerun: %w", err)
	}
	return b.until(ctx, name, w.Status.LastRun.Name, began)
}

// until awaits Ready after a Run that is not the one before, and reads the way there off the film.
func (b *bench) until(ctx context.Context, name, before string, began time.Time) (sample, error) {
	end, err := b.film.await(ctx, "Workspace "+name, workspace(name, began, either(ready(before), stuck)))
	if err != nil {
		return sample{}, err
	}
	w := end.object.(*v1alpha1.Workspace)
	if stuck(w) {
		return sample{}, fmt.Errorf("workspace %s: %s: %w", name, w.Status.LastRun.Message, errFailed)
	}
	s := sample{total: end.at.Sub(began)}
	this, known := w.Status.LastRun.Name, b.otherRuns(w)
	s.see(b.film, began, "Run created", run(name, known, created))
	s.see(b.film, began, "intent written", run(name, known, launched))
	s.see(b.film, began, "Pod created", pod(this, exists))
	s.see(b.film, began, "Pod scheduled", pod(this, scheduled))
	s.steps(b.film, began, run(name, known, finished), run(name, known, reported))
	s.see(b.film, began, "reported", run(name, known, reported))
	s.see(b.film, began, "Run finished", run(name, known, finished))
	s.phases = append(s.phases, phase{name: "Ready", at: s.total})
	return s, nil
}

// otherRuns are the Workspace's Runs but for its last.
func (b *bench) otherRuns(w *v1alpha1.Workspace) map[string]bool {
	known := map[string]bool{}
	for {
		f, ok := b.film.first(run(w.Name, known, func(r *v1alpha1.Run) bool { return r.Name != w.Status.LastRun.Name }))
		if !ok {
			return known
		}
		known[f.object.GetName()] = true
	}
}

// steps adds the driver's steps, and when its process must have begun for them to end with the report.
func (s *sample) steps(f *film, began time.Time, finished, reported scene) {
	end, ok := f.first(finished)
	if !ok {
		return
	}
	told, ok := f.first(reported)
	if !ok {
		told = end
	}
	var steps []phase
	start := told.at.Sub(began)
	for _, step := range end.object.(*v1alpha1.Run).Status.Steps {
		steps = append(steps, phase{name: step.Name, at: step.Duration.Duration, step: true})
		start -= step.Duration.Duration
	}
	s.phases = append(append(s.phases, phase{name: "first step began", at: start}), steps...)
}
