package runner

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/internal/testkit"
	"github.com/plumbline-dev/plumbline/runner/run"
	"github.com/plumbline-dev/plumbline/runner/workspace"
)

// world is both reconcilers over a pretended API server, with a kubelet and a state service of the test's. Everything
// that the reconcilers write goes through it.
type world struct {
	t     *testing.T
	base  client.WithWatch
	clock *clocktesting.FakeClock
	state *fakeState
	key   types.NamespacedName
	// writes are the reconcilers', in order, such as "create Pod".
	writes []string
	// events are what people were told.
	events []string
	// made counts how often each object was created, by kind and name.
	made map[string]int
	// removed counts what the reconcilers deleted, by kind.
	removed map[string]int
	// blind shows the reconcilers lists of Runs without any, as a cache that lags behind does.
	blind bool
	// fault is asked before and after each write, and on each read; nil for no faults.
	fault func(w *world, when, what string) error
}

// fakeState is the state service as the controller sees it.
type fakeState struct {
	outputs map[string]job.Output
	// resources: something was applied and not destroyed yet.
	resources atomic.Bool
	err       error
	// adopted is what was to be taken over; adoptErr is the answer.
	adopted  []string
	adoptErr error
	// asks are those to forget a state; missing, if there should be one, is the answer.
	asks    []workspace.Forgotten
	missing error
	// lock is what becomes of the lock, asked how often that was wanted to be known.
	lock    run.Lock
	lockErr error
	asked   int
	// unbounded: it was asked without a deadline.
	unbounded bool
}

func (s *fakeState) ReleaseLock(ctx context.Context, _ *v1alpha1.Workspace) (run.Lock, error) {
	s.asked++
	if _, ok := ctx.Deadline(); !ok {
		s.unbounded = true
	}
	return s.lock, s.lockErr
}

func (s *fakeState) Outputs(context.Context, string, string) (map[string]job.Output, error) {
	return s.outputs, s.err
}

func (s *fakeState) Adopt(_ context.Context, _ *v1alpha1.Workspace, from string) error {
	s.adopted = append(s.adopted, from)
	return s.adoptErr
}

func (s *fakeState) Forget(_ context.Context, f workspace.Forgotten) (bool, error) {
	s.asks = append(s.asks, f)
	if s.missing != nil {
		return false, s.missing
	}
	return !s.resources.Load(), s.err
}

func location() (job.State, error) { return job.State{URL: "https://state:8443", CA: "PEM"}, nil }

func newWorld(t *testing.T, objects ...client.Object) *world {
	t.Helper()
	scheme := runtime.NewScheme() // with what is used here alone: the fake client is slow with all of Kubernetes
	if err := errors.Join(corev1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, clock: testkit.Clock(), made: map[string]int{}, removed: map[string]int{},
		state: &fakeState{outputs: map[string]job.Output{"ip": {Value: []byte(`"10.0.0.1"`)}}},
		key:   types.NamespacedName{Namespace: testkit.Namespace, Name: "vpn"},
	}
	byWorkspace := func(o client.Object) []string { return []string{o.(*v1alpha1.Run).Spec.WorkspaceName} }
	w.base = fake.NewClientBuilder().WithScheme(scheme).WithObjects(testkit.Class("default")).WithObjects(objects...).
		WithStatusSubresource(&v1alpha1.Workspace{}, &v1alpha1.Run{}).
		WithIndex(&v1alpha1.Run{}, run.IndexWorkspace, byWorkspace).Build()
	return w
}

// client is the base with bookkeeping and faults.
func (w *world) client() client.WithWatch {
	return interceptor.NewClient(w.base, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object,
			opts ...client.GetOption) error {
			if err := w.ask("read", kind(o)); err != nil {
				return err
			}
			return c.Get(ctx, key, o, opts...)
		},
		List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
			if _, runs := l.(*v1alpha1.RunList); runs && w.blind {
				return nil
			}
			return c.List(ctx, l, opts...)
		},
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return w.write("create "+kind(o), func() error {
				o.SetUID(types.UID(fmt.Sprintf("uid-%s-%s-%d", kind(o), o.GetName(), len(w.writes))))
				o.SetCreationTimestamp(metav1.NewTime(w.clock.Now()))
				err := c.Create(ctx, o, opts...)
				if err == nil {
					w.made[kind(o)+" "+o.GetName()]++
				}
				return err
			})
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			return w.write("update "+kind(o), func() error { return c.Update(ctx, o, opts...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch,
			opts ...client.PatchOption) error {
			return w.write("patch "+kind(o), func() error { return c.Patch(ctx, o, p, opts...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			return w.write("delete "+kind(o), func() error {
				w.removed[kind(o)]++
				return c.Delete(ctx, o, opts...)
			})
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch,
			opts ...client.SubResourcePatchOption) error {
			return w.write("patch "+kind(o)+" "+sub, func() error { return c.SubResource(sub).Patch(ctx, o, p, opts...) })
		},
	})
}

func kind(o client.Object) string {
	if m, ok := o.(*metav1.PartialObjectMetadata); ok {
		return m.Kind
	}
	return reflect.TypeOf(o).Elem().Name()
}

func (w *world) ask(when, what string) error {
	if w.fault == nil {
		return nil
	}
	return w.fault(w, when, what)
}

func (w *world) write(what string, do func() error) error {
	w.writes = append(w.writes, what)
	if err := w.ask("before", what); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return w.ask("after", what)
}

// pass lets new reconcilers, as after a crash, look once at the Workspace.
func (w *world) pass() error {
	c := w.client()
	recorder := events.NewFakeRecorder(1000)
	defer func() {
		for len(recorder.Events) > 0 {
			w.events = append(w.events, <-recorder.Events)
		}
	}()
	one := &workspace.Reconciler{Client: c, Live: c, Recorder: recorder, Clock: w.clock, State: w.state}
	two := &run.Reconciler{Client: c, Live: c, Recorder: recorder, Clock: w.clock, State: location, Locks: w.state}
	_, err1 := one.Reconcile(w.t.Context(), ctrl.Request{NamespacedName: w.key})
	_, err2 := two.Reconcile(w.t.Context(), ctrl.Request{NamespacedName: w.key})
	return errors.Join(err1, err2)
}

// madeAnew is how often a Pod was created under a name that one had had before.
func (w *world) madeAnew() int {
	again := 0
	for what, times := range w.made {
		if strings.HasPrefix(what, "Pod ") {
			again += times - 1
		}
	}
	return again
}

var errInjected = errors.New("injected")

// settle passes until nothing is written any more. Errors that the test injected, and conflicts, are tried again.
func (w *world) settle() {
	w.t.Helper()
	for range 30 {
		before := len(w.writes)
		err := w.pass()
		if err != nil && !errors.Is(err, errInjected) && !apierrors.IsConflict(err) {
			w.t.Fatal(err)
		}
		if err == nil && len(w.writes) == before {
			return
		}
	}
	w.t.Fatalf("it does not settle: %s", strings.Join(w.writes[max(0, len(w.writes)-20):], ", "))
}

// get reads an object into o and tells whether it exists.
func (w *world) get(name string, o client.Object) bool {
	w.t.Helper()
	err := w.base.Get(w.t.Context(), types.NamespacedName{Namespace: testkit.Namespace, Name: name}, o)
	if client.IgnoreNotFound(err) != nil {
		w.t.Fatal(err)
	}
	return err == nil
}

func (w *world) workspace() *v1alpha1.Workspace {
	w.t.Helper()
	var o v1alpha1.Workspace
	if !w.get(w.key.Name, &o) {
		return nil
	}
	return &o
}

func (w *world) edit(change func(*v1alpha1.Workspace)) {
	w.t.Helper()
	o := w.workspace()
	change(o)
	w.must(w.base.Update(w.t.Context(), o))
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) runs() []v1alpha1.Run {
	w.t.Helper()
	var list v1alpha1.RunList
	w.must(w.base.List(w.t.Context(), &list))
	return list.Items
}

// live are the Pods that have not ended.
func (w *world) live() []corev1.Pod {
	w.t.Helper()
	var list corev1.PodList
	w.must(w.base.List(w.t.Context(), &list))
	var live []corev1.Pod
	for _, p := range list.Items {
		if p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
			live = append(live, p)
		}
	}
	return live
}

// run returns the Run of a name.
func (w *world) run(name string) *v1alpha1.Run {
	w.t.Helper()
	var r v1alpha1.Run
	if !w.get(name, &r) {
		w.t.Fatalf("there is no Run %q", name)
	}
	return &r
}

// finish plays driver, state service and kubelet: the Run reports, its Pod ends.
func (w *world) finish(p corev1.Pod, result job.Result) {
	w.t.Helper()
	r := w.run(p.OwnerReferences[0].Name)
	result.Run = r.Name
	if result.Class.Succeeded() {
		w.state.resources.Store(r.Spec.Operation != v1alpha1.OperationDestroy)
	}
	encoded, err := job.Encode(result)
	w.must(err)
	before := r.DeepCopy()
	r.Status.Reported = &runtime.RawExtension{Raw: encoded}
	w.must(w.base.Status().Patch(w.t.Context(), r, client.MergeFrom(before)))
	p.Status.Phase = corev1.PodSucceeded
	w.must(w.base.Status().Update(w.t.Context(), &p))
}

// drive lets time and Pods go on until done, and holds on the way that no two Pods are ever at work.
func (w *world) drive(what string, done func() bool) {
	w.t.Helper()
	for range 40 {
		w.settle()
		if done() {
			return
		}
		live := w.live()
		if len(live) > 1 {
			w.t.Fatalf("%d Pods are at work at once", len(live))
		}
		for _, p := range live {
			w.finish(p, job.Result{Class: job.Applied, Changes: &job.Changes{Add: 1}})
		}
		if len(live) == 0 {
			w.clock.Step(20 * time.Second)
		}
	}
	w.t.Fatalf("%s: that never happens; Runs are %v", what, names(w.runs()))
}

func names(runs []v1alpha1.Run) []string {
	var all []string
	for i := range runs {
		s := runs[i].Status
		all = append(all, fmt.Sprintf("%s %s %s", runs[i].Name, s.Class, s.Message))
	}
	return all
}

func (w *world) ready() bool {
	o := w.workspace()
	if o == nil {
		return false
	}
	for _, c := range o.Status.Conditions {
		if c.Type == v1alpha1.ConditionReady {
			return c.Status == metav1.ConditionTrue
		}
	}
	return false
}
