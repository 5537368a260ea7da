//go:build integration

package runner

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/internal/testkit"
	"github.com/plumbline-dev/plumbline/runner/run"
	"github.com/plumbline-dev/plumbline/runner/workspace"
)

var apiServer *rest.Config

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	env := &envtest.Environment{CRDDirectoryPaths: []string{"../deploy/crds"}, ErrorIfCRDPathMissing: true}
	var err error
	if apiServer, err = env.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "starting an API server (is KUBEBUILDER_ASSETS set? make integration does it):", err)
		os.Exit(1)
	}
	apiServer.QPS = -1
	code := m.Run()
	if err := env.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping the API server:", err)
	}
	os.Exit(code)
}

// cluster is a namespace of a real API server, in which the test plays driver, kubelet and state service.
type cluster struct {
	t         *testing.T
	client    client.Client
	namespace string

	mu sync.Mutex
	// outcome is how a Run ends; a nil one lets its Pod run on.
	outcome func(r *v1alpha1.Run) *job.Result
	// resources are the Workspaces, by UID, that something was applied for.
	resources map[types.UID]bool
}

func applied(*v1alpha1.Run) *job.Result {
	return &job.Result{Class: job.Applied, Changes: &job.Changes{Add: 1}}
}

// newCluster makes a namespace and starts the kubelet; a manager is started by the test.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	scheme, err := Scheme()
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, outcome: applied, resources: map[types.UID]bool{}}
	if c.client, err = client.New(apiServer, client.Options{Scheme: scheme}); err != nil {
		t.Fatal(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "team-"}}
	c.must(c.client.Create(t.Context(), ns))
	c.namespace = ns.Name
	class := testkit.Class("default")
	class.ObjectMeta = metav1.ObjectMeta{Name: "default", Annotations: class.Annotations}
	c.must(client.IgnoreAlreadyExists(c.client.Create(t.Context(), class)))
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); c.kubelet(ctx) }()
	t.Cleanup(func() {
		stop()
		<-done
		c.sweep()
	})
	return c
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// manage starts a controller, as cmd/controller does. It ends with the test, or when stop is called.
func (c *cluster) manage(o Options) (mgr manager.Manager, stop func()) {
	c.t.Helper()
	o.Namespace, o.MetricsAddr, o.HealthAddr, o.Concurrency = c.namespace, "0", "0", 4
	o.Clock, o.Logger, o.State, o.StateLocation = clock.RealClock{}, logr.Discard(), c, location
	o.SkipNameValidation = true
	ctx, cancel := context.WithCancel(context.Background())
	mgr, err := NewManager(ctx, apiServer, o)
	c.must(err)
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			c.t.Errorf("the controller ended: %v", err)
		}
	})
	c.t.Cleanup(stop)
	return mgr, stop
}

// ReleaseLock finds every lock free.
func (c *cluster) ReleaseLock(context.Context, *v1alpha1.Workspace) (run.Lock, error) {
	return run.Lock{}, nil
}

// Outputs, Forget and Adopt make the cluster its own state service.
func (c *cluster) Outputs(context.Context, string, string) (map[string]job.Output, error) {
	return map[string]job.Output{"ip": {Value: []byte(`"10.0.0.1"`)}}, nil
}

func (c *cluster) Forget(_ context.Context, f workspace.Forgotten) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.resources[f.Workspace.UID], nil
}

func (c *cluster) Adopt(context.Context, *v1alpha1.Workspace, string) error { return nil }

// holds tells whether something of a Workspace was applied and not destroyed.
func (c *cluster) holds(w *v1alpha1.Workspace) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.resources[w.UID]
}

// ending sets how Runs end from now on.
func (c *cluster) ending(outcome func(*v1alpha1.Run) *job.Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outcome = outcome
}

// kubelet ends Pods until the context does.
func (c *cluster) kubelet(ctx context.Context) {
	_ = wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		var pods corev1.PodList
		if err := c.client.List(ctx, &pods, client.InNamespace(c.namespace)); err != nil {
			return false, nil // tried again
		}
		for i := range pods.Items {
			if p := &pods.Items[i]; p.Status.Phase == corev1.PodPending || p.Status.Phase == corev1.PodRunning {
				_ = c.end(ctx, p) // tried again
			}
		}
		return false, nil
	})
}

func (c *cluster) end(ctx context.Context, p *corev1.Pod) error {
	var r v1alpha1.Run
	if err := c.client.Get(ctx, types.NamespacedName{Namespace: c.namespace, Name: p.OwnerReferences[0].Name},
		&r); err != nil {
		return err
	}
	c.mu.Lock()
	result := c.outcome(&r)
	if result != nil && result.Class.Succeeded() && len(r.OwnerReferences) > 0 {
		c.resources[r.OwnerReferences[0].UID] = r.Spec.Operation != v1alpha1.OperationDestroy
	}
	c.mu.Unlock()
	if result == nil {
		return nil
	}
	result.Run = r.Name
	encoded, err := job.Encode(*result)
	if err != nil {
		return err
	}
	before := r.DeepCopy()
	r.Status.Reported = &runtime.RawExtension{Raw: encoded}
	if err := c.client.Status().Patch(ctx, &r, client.MergeFrom(before)); err != nil {
		return err
	}
	p.Status.Phase = corev1.PodSucceeded
	return c.client.Status().Update(ctx, p)
}

// sweep removes what controllers of later tests would find.
func (c *cluster) sweep() {
	ctx := context.Background()
	var list v1alpha1.WorkspaceList
	if err := c.client.List(ctx, &list, client.InNamespace(c.namespace)); err != nil {
		c.t.Error(err)
	}
	for i := range list.Items {
		w := &list.Items[i]
		before := w.DeepCopy()
		controllerutil.RemoveFinalizer(w, v1alpha1.Finalizer)
		if err := c.client.Patch(ctx, w, client.MergeFrom(before)); client.IgnoreNotFound(err) != nil {
			c.t.Error(err)
		}
	}
	for _, o := range []client.Object{&v1alpha1.Workspace{}, &v1alpha1.Run{}, &corev1.Pod{}} {
		if err := c.client.DeleteAllOf(ctx, o, client.InNamespace(c.namespace)); err != nil {
			c.t.Error(err)
		}
	}
}

// create makes a builder's Workspace in the namespace.
func (c *cluster) create(b *testkit.WorkspaceBuilder) *v1alpha1.Workspace {
	c.t.Helper()
	w := b.Obj()
	w.ObjectMeta = metav1.ObjectMeta{Namespace: c.namespace, Name: w.Name, Annotations: w.Annotations}
	c.must(c.client.Create(c.t.Context(), w))
	return w
}

// make creates a namespaced object.
func (c *cluster) make(o client.Object) {
	c.t.Helper()
	o.SetNamespace(c.namespace)
	o.SetUID("")
	c.must(c.client.Create(c.t.Context(), o))
}

// edit changes a Workspace as a person would.
func (c *cluster) edit(w *v1alpha1.Workspace, change func(*v1alpha1.Workspace)) {
	c.t.Helper()
	var now v1alpha1.Workspace
	c.must(c.client.Get(c.t.Context(), client.ObjectKeyFromObject(w), &now))
	before := now.DeepCopy()
	change(&now)
	c.must(c.client.Patch(c.t.Context(), &now, client.MergeFrom(before)))
}

// runs are a Workspace's Runs that a trigger made, oldest first by name of creation.
func (c *cluster) runs(w *v1alpha1.Workspace, kinds ...v1alpha1.TriggerKind) []v1alpha1.Run {
	c.t.Helper()
	var list v1alpha1.RunList
	c.must(c.client.List(c.t.Context(), &list, client.InNamespace(c.namespace)))
	var all []v1alpha1.Run
	for _, r := range list.Items {
		for _, k := range kinds {
			if r.Spec.WorkspaceName == w.Name && r.Spec.Trigger.Kind == k {
				all = append(all, r)
			}
		}
	}
	return all
}

func (c *cluster) pods() int {
	c.t.Helper()
	var list corev1.PodList
	c.must(c.client.List(c.t.Context(), &list, client.InNamespace(c.namespace)))
	return len(list.Items)
}

func conditions(w *v1alpha1.Workspace) any {
	if w == nil {
		return "gone"
	}
	return w.Status.Conditions
}

// await waits until the Workspace is as wanted; done gets nil when it is gone.
func (c *cluster) await(w *v1alpha1.Workspace, what string, done func(*v1alpha1.Workspace) bool) {
	c.t.Helper()
	var now *v1alpha1.Workspace
	err := wait.PollUntilContextTimeout(c.t.Context(), 30*time.Millisecond, 30*time.Second, true,
		func(ctx context.Context) (bool, error) {
			now = &v1alpha1.Workspace{}
			err := c.client.Get(ctx, client.ObjectKeyFromObject(w), now)
			if client.IgnoreNotFound(err) != nil {
				return false, err
			}
			if err != nil {
				now = nil
			}
			return done(now), nil
		})
	if err != nil {
		var all v1alpha1.RunList
		_ = c.client.List(context.Background(), &all, client.InNamespace(c.namespace))
		c.t.Fatalf("waiting for %s: %v\nWorkspace: %+v\nRuns: %s", what, err, conditions(now),
			strings.Join(names(all.Items), "\n"))
	}
}
