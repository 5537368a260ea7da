package main

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
)

// pod is a scene of a Pod.
func pod(name string, is func(*corev1.Pod) bool) scene {
	return func(f frame) bool {
		p, ok := f.object.(*corev1.Pod)
		return ok && !f.deleted && p.Name == name && is(p)
	}
}

func exists(*corev1.Pod) bool      { return true }
func scheduled(p *corev1.Pod) bool { return p.Spec.NodeName != "" }
func over(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// run is a scene of a Run of a Workspace that is not one of those known already.
func run(workspace string, known map[string]bool, is func(*v1alpha1.Run) bool) scene {
	return func(f frame) bool {
		r, ok := f.object.(*v1alpha1.Run)
		return ok && !f.deleted && r.Spec.WorkspaceName == workspace && !known[r.Name] && is(r)
	}
}

func created(*v1alpha1.Run) bool    { return true }
func launched(r *v1alpha1.Run) bool { return r.Status.StartedAt != nil }
func reported(r *v1alpha1.Run) bool { return r.Status.Reported != nil }
func finished(r *v1alpha1.Run) bool { return r.Status.FinishedAt != nil }

// workspace is a scene of a Workspace after a moment.
func workspace(name string, since time.Time, is func(*v1alpha1.Workspace) bool) scene {
	return func(f frame) bool {
		w, ok := f.object.(*v1alpha1.Workspace)
		return ok && !f.deleted && f.at.After(since) && w.Name == name && is(w)
	}
}

// ready: what was asked for is there, and Run before is no longer the last one.
func ready(before string) func(*v1alpha1.Workspace) bool {
	return func(w *v1alpha1.Workspace) bool {
		return w.Status.LastRun != nil && w.Status.LastRun.Name != before && w.Status.ObservedGeneration == w.Generation &&
			apimeta.IsStatusConditionTrue(w.Status.Conditions, v1alpha1.ConditionReady)
	}
}

// stuck: it failed, and waiting for the end of the deadline tells nothing more.
func stuck(w *v1alpha1.Workspace) bool { return w.Status.Failures > 0 }

func either[T any](a, b func(T) bool) func(T) bool {
	return func(x T) bool { return a(x) || b(x) }
}

// gone is the deletion of an object.
func gone(name string, since time.Time) scene {
	return func(f frame) bool { return f.deleted && f.object.GetName() == name && f.at.After(since) }
}
