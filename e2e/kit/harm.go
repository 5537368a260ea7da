package kit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
)

const lease = "plumbline-controller"

func component(name string) client.MatchingLabels {
	return client.MatchingLabels{"app.kubernetes.io/name": "plumbline", "app.kubernetes.io/component": name}
}

// Component is the Pods of Plumbline's controller or state service.
func (k *Kit) Component(t testing.TB, name string) []corev1.Pod {
	t.Helper()
	var pods corev1.PodList
	if err := k.List(t.Context(), &pods, client.InNamespace(System), component(name)); err != nil {
		t.Fatalf("listing the Pods of %s: %v", name, err)
	}
	if len(pods.Items) == 0 {
		t.Fatalf("there is no Pod of %s", name)
	}
	return pods.Items
}

// Kill ends all Pods of a component with SIGKILL. Others come up at once.
func (k *Kit) Kill(t testing.TB, name string) {
	t.Helper()
	for _, p := range k.Component(t, name) {
		err := k.Delete(t.Context(), &p, client.GracePeriodSeconds(0))
		if client.IgnoreNotFound(err) != nil {
			t.Fatalf("killing %s: %v", p.Name, err)
		}
	}
}

// KillController kills all controllers and, so that tests needn't wait for it to run out, removes their lease.
func (k *Kit) KillController(t testing.TB) {
	t.Helper()
	k.Kill(t, Controller)
	l := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: System, Name: lease}}
	if err := client.IgnoreNotFound(k.Delete(t.Context(), l)); err != nil {
		t.Fatalf("removing the lease: %v", err)
	}
}

// AwaitComponent waits until every replica of a Deployment in the system namespace is available.
func (k *Kit) AwaitComponent(t testing.TB, deployment string) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), Patience, fmt.Errorf("not available within %s", Patience))
	defer cancel()
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: System, Name: deployment}}
	err := k.await(ctx, d, func(o client.Object) bool {
		return o != nil && d.Status.ObservedGeneration == d.Generation && d.Status.Replicas == *d.Spec.Replicas &&
			d.Status.AvailableReplicas == *d.Spec.Replicas
	})
	if err != nil {
		t.Fatalf("waiting for %s: %v", deployment, err)
	}
}

// Scale gives a Deployment in the system namespace another number of Pods and returns the one that it had. With none,
// it waits until the last is gone.
func (k *Kit) Scale(t testing.TB, deployment string, replicas int32) int32 {
	t.Helper()
	ctx := After(t)
	scales := k.Set.AppsV1().Deployments(System)
	scale, err := scales.GetScale(ctx, deployment, metav1.GetOptions{})
	if err != nil {
		t.Fatalf("scaling %s: %v", deployment, err)
	}
	before := scale.Spec.Replicas
	scale.Spec.Replicas = replicas
	if _, err := scales.UpdateScale(ctx, deployment, scale, metav1.UpdateOptions{}); err != nil {
		t.Fatalf("scaling %s: %v", deployment, err)
	}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: System, Name: deployment}}
	err = k.await(ctx, d, func(o client.Object) bool {
		return o != nil && d.Status.ObservedGeneration == d.Generation && *d.Spec.Replicas == replicas &&
			d.Status.Replicas == replicas && d.Status.AvailableReplicas == replicas
	})
	if err != nil {
		t.Fatalf("scaling %s: %v", deployment, err)
	}
	return before
}

// SecondController runs another controller that doesn't ask who leads, for as long as the test runs.
func (k *Kit) SecondController(t testing.TB) {
	t.Helper()
	var first appsv1.Deployment
	if err := k.Get(t.Context(), client.ObjectKey{Namespace: System, Name: "plumbline-controller"}, &first); err != nil {
		t.Fatal(err)
	}
	name := metav1.ObjectMeta{Namespace: System, Name: "second-controller"}
	second := &appsv1.Deployment{ObjectMeta: name, Spec: first.Spec}
	labels := map[string]string{"e2e.plumbline.dev/second": "true"}
	second.Spec.Replicas = new(int32(1))
	second.Spec.Selector = &metav1.LabelSelector{MatchLabels: labels}
	second.Spec.Template.Labels = labels
	c := &second.Spec.Template.Spec.Containers[0]
	c.Args = append(c.Args, "--leader-elect=false")
	if err := k.Create(t.Context(), second); err != nil {
		t.Fatalf("starting a second controller: %v", err)
	}
	t.Cleanup(func() {
		ctx := After(t)
		err := k.Delete(ctx, second, client.PropagationPolicy(metav1.DeletePropagationForeground))
		if err := errors.Join(err, k.gone(ctx, second)); err != nil {
			t.Errorf("ending the second controller: %v", err)
		}
	})
	k.AwaitComponent(t, second.Name)
}

// StopAPIServer ends the API server and starts it again after a while.
func (k *Kit) StopAPIServer(t testing.TB, d time.Duration) {
	t.Helper()
	const name = "kube-apiserver"
	if err := k.Cluster.StopComponent(t.Context(), name); err != nil {
		t.Fatalf("stopping the API server: %v", err)
	}
	defer func() {
		if err := k.Cluster.StartComponent(After(t), name); err != nil {
			t.Fatalf("starting the API server: %v", err)
		}
	}()
	Last(t, d)
}

// Last is for what a test does to others for as long as d.
func Last(t testing.TB, d time.Duration) {
	t.Helper()
	select {
	case <-t.Context().Done():
	case <-time.After(d):
	}
}

// CutOff keeps a Run's Pod from the state service as a broken network does: what it sends vanishes, until heal is
// called or the test ends.
func (s *Space) CutOff(t testing.TB, run *v1alpha1.Run) (heal func()) {
	t.Helper()
	var pod corev1.Pod
	if err := s.Get(t.Context(), client.ObjectKey{Namespace: s.Name, Name: run.Status.PodName}, &pod); err != nil {
		t.Fatal(err)
	}
	var service corev1.Service
	if err := s.Get(t.Context(), client.ObjectKey{Namespace: System, Name: stateService}, &service); err != nil {
		t.Fatal(err)
	}
	undo, err := s.Cluster.Cut(t.Context(), pod.Status.PodIP, service.Spec.ClusterIP)
	if err != nil {
		t.Fatal(err)
	}
	heal = sync.OnceFunc(func() {
		if err := undo(After(t)); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(heal)
	return heal
}

// AnotherStore points the state service at an empty folder, waits until its new Pod has ended, and returns why. The
// test puts it back at its end, and when the returned function is called.
func (k *Kit) AnotherStore(t testing.TB) (why string, back func()) {
	t.Helper()
	key := client.ObjectKey{Namespace: System, Name: StateDeployment}
	var before appsv1.Deployment
	if err := k.Get(t.Context(), key, &before); err != nil {
		t.Fatal(err)
	}
	back = sync.OnceFunc(func() {
		var now appsv1.Deployment
		if err := k.Get(After(t), key, &now); err != nil {
			t.Fatal(err)
		}
		now.Spec.Template = before.Spec.Template
		if err := k.Update(After(t), &now); err != nil {
			t.Fatalf("putting the store back: %v", err)
		}
	})
	t.Cleanup(back)
	changed := before.DeepCopy()
	pod := &changed.Spec.Template.Spec
	pod.Volumes = append(pod.Volumes, corev1.Volume{
		Name: "elsewhere", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}},
	})
	c := &pod.Containers[0]
	c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "elsewhere", MountPath: "/elsewhere"})
	c.Args = append(c.Args, "--store=file:///elsewhere")
	c.TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
	if err := k.Update(t.Context(), changed); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	err := k.awaitAll(ctx, &corev1.PodList{}, func(all set) bool {
		for _, o := range all {
			if p, ok := o.(*corev1.Pod); ok {
				why = cmp.Or(why, failure(p))
			}
		}
		return why != ""
	}, client.InNamespace(System), component(State))
	if err != nil {
		t.Fatalf("waiting for a state server that refuses to start: %v", err)
	}
	return why, back
}

// failure is what a container of a Pod said when it ended with an error; empty when none did.
func failure(p *corev1.Pod) string {
	for _, s := range p.Status.ContainerStatuses {
		for _, ended := range []*corev1.ContainerStateTerminated{s.State.Terminated, s.LastTerminationState.Terminated} {
			if ended != nil && ended.ExitCode != 0 {
				return ended.Message
			}
		}
	}
	return ""
}
