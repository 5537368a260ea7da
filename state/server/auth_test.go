package server

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/state"
)

var start = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// sinceStart is how it is said.
const sinceStart = "2026-07-01T12:00:00Z"

// world is what a Cluster sees; tests spoil some of it.
type world struct {
	review  authenticationv1.TokenReviewStatus
	pod     *corev1.Pod
	run     *v1alpha1.Run
	ws      *v1alpha1.Workspace
	mu      sync.Mutex
	reviews int
	getErr  error
}

func newWorld() *world {
	run := &v1alpha1.Run{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "a", UID: "run-uid"},
		Spec:       v1alpha1.RunSpec{WorkspaceName: "ws"},
		Status:     v1alpha1.RunStatus{PodName: "a", PodUID: "pod-uid", WorkspaceUID: "ws-uid"},
	}
	owner := metav1.NewControllerRef(run, v1alpha1.GroupVersion.WithKind("Run"))
	return &world{
		review: authenticationv1.TokenReviewStatus{
			Authenticated: true, Audiences: []string{job.StateAudience},
			User: authenticationv1.UserInfo{
				Username: "system:serviceaccount:ns:terraform",
				Extra: map[string]authenticationv1.ExtraValue{
					extraPodName: {"a"}, extraPodUID: {"pod-uid"},
				},
			},
		},
		pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Namespace: "ns", Name: "a", UID: "pod-uid", OwnerReferences: []metav1.OwnerReference{*owner},
		}},
		run: run,
		ws:  &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "ws", UID: "ws-uid"}},
	}
}

func scheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(s), v1alpha1.AddToScheme(s)); err != nil {
		t.Fatal(err)
	}
	return s
}

func (w *world) cluster(t *testing.T, clk *clocktesting.FakeClock) *Cluster {
	t.Helper()
	var objects []client.Object
	for _, o := range []client.Object{w.pod, w.run, w.ws} {
		if o.GetName() != "" {
			objects = append(objects, o)
		}
	}
	funcs := interceptor.Funcs{
		Create: func(_ context.Context, _ client.WithWatch, obj client.Object, _ ...client.CreateOption) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.reviews++
			obj.(*authenticationv1.TokenReview).Status = w.review
			return w.getErr
		},
		Get: func(
			ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption,
		) error {
			if w.getErr != nil {
				return w.getErr
			}
			return c.Get(ctx, key, obj, opts...)
		},
	}
	c := fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(objects...).
		WithStatusSubresource(&v1alpha1.Run{}).WithInterceptorFuncs(funcs).Build()
	return NewCluster(c, clk, "plumbline-system:plumbline-controller")
}

func TestIdentify(t *testing.T) {
	pod := Identity{
		Namespace: "ns", Workspace: "ws", WorkspaceUID: "ws-uid",
		Run: "a", RunUID: "run-uid", Pod: "a", PodUID: "pod-uid",
	}
	over := pod
	over.Over = true
	down := errors.New("down")
	for _, test := range []struct {
		name  string
		spoil func(*world)
		want  Identity
		err   error
	}{
		{"a run's pod", func(*world) {}, pod, nil},
		{"a run that is over", func(w *world) { w.run.Status.FinishedAt = new(metav1.NewTime(start)) }, over, nil},
		{"the controller", func(w *world) {
			w.review.User.Username = "system:serviceaccount:plumbline-system:plumbline-controller"
		}, Identity{Controller: true}, nil},
		{"its name elsewhere", func(w *world) {
			w.review.User.Username = "system:serviceaccount:ns:plumbline-controller"
			w.review.User.Extra = nil
		}, Identity{}, ErrForbidden},
		{"not authenticated", func(w *world) { w.review.Authenticated = false }, Identity{}, ErrUnauthenticated},
		{"another audience", func(w *world) { w.review.Audiences = []string{"vault"} }, Identity{}, ErrUnauthenticated},
		{"a person", func(w *world) { w.review.User.Username = "jane" }, Identity{}, ErrForbidden},
		{"a token without a pod", func(w *world) { w.review.User.Extra = nil }, Identity{}, ErrForbidden},
		{"a pod that is gone", func(w *world) { w.pod = &corev1.Pod{} }, Identity{}, ErrForbidden},
		{"a pod made anew", func(w *world) { w.pod.UID = "new" }, Identity{}, ErrForbidden},
		{"a pod of nobody", func(w *world) { w.pod.OwnerReferences = nil }, Identity{}, ErrForbidden},
		{"a pod of something else", func(w *world) { w.pod.OwnerReferences[0].Kind = "Job" }, Identity{}, ErrForbidden},
		{"a pod of another group's run", func(w *world) {
			w.pod.OwnerReferences[0].APIVersion = "plumbline.example/v1"
		}, Identity{}, ErrForbidden},
		{"owned but not controlled", func(w *world) { w.pod.OwnerReferences[0].Controller = nil }, Identity{}, ErrForbidden},
		{"a run made anew", func(w *world) { w.run.UID = "new" }, Identity{}, ErrForbidden},
		{"a run with another pod", func(w *world) { w.run.Status.PodName = "b" }, Identity{}, ErrForbidden},
		{"a run that is gone", func(w *world) { w.run = &v1alpha1.Run{} }, Identity{}, ErrForbidden},
		{"a pod that took the name of the run's", func(w *world) { w.run.Status.PodUID = "first" }, Identity{}, ErrForbidden},
		{"a pod that nobody has recorded yet", func(w *world) {
			w.run.Status = v1alpha1.RunStatus{}
		}, Identity{}, errUnrecorded},
		{"a pod of a run that was never launched", func(w *world) {
			w.run.Status = v1alpha1.RunStatus{FinishedAt: new(metav1.NewTime(start))}
		}, Identity{}, ErrForbidden},
		{"another workspace has the name of the run's", func(w *world) { w.ws.UID = "another" }, pod, nil},
		{"launched by a release that records nothing", func(w *world) {
			w.run.Status = v1alpha1.RunStatus{PodName: "a"}
			w.run.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(w.ws,
				v1alpha1.GroupVersion.WithKind("Workspace"))}
		}, pod, nil},
		{"launched by such a release, for an earlier workspace of the name", func(w *world) {
			w.run.Status = v1alpha1.RunStatus{PodName: "a"}
			w.run.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(w.ws,
				v1alpha1.GroupVersion.WithKind("Workspace"))}
			w.ws.UID = "another"
		}, Identity{}, ErrForbidden},
		{"the API server is down", func(w *world) { w.getErr = down }, Identity{}, down},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld()
			test.spoil(w)
			got, err := w.cluster(t, clocktesting.NewFakeClock(start)).Identify(t.Context(), jwt(t, nil))
			if !errors.Is(err, test.err) {
				t.Fatalf("got error %v, want %v", err, test.err)
			}
			if diff := cmp.Diff(test.want, got); err == nil && diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestIdentityIsRememberedForSeconds(t *testing.T) {
	w, clk := newWorld(), clocktesting.NewFakeClock(start)
	c := w.cluster(t, clk)
	for _, step := range []struct {
		after time.Duration
		token string
		want  int
	}{{0, "x", 1}, {9 * time.Second, "x", 1}, {0, "y", 2}, {time.Second, "x", 3}} {
		clk.Step(step.after)
		if _, err := c.Identify(t.Context(), jwt(t, map[string]any{"jti": step.token})); err != nil {
			t.Fatal(err)
		}
		if w.reviews != step.want {
			t.Errorf("token %s after %v: %d reviews so far, want %d", step.token, step.after, w.reviews, step.want)
		}
	}
	w.review.Authenticated = false
	for _, want := range []int{4, 5} {
		clk.Step(remember)
		for range 2 {
			if _, err := c.Identify(t.Context(), jwt(t, nil)); !errors.Is(err, ErrUnauthenticated) {
				t.Errorf("got %v, want ErrUnauthenticated", err)
			}
		}
		if w.reviews != want {
			t.Errorf("%d reviews, want %d: a refusal is remembered for as long", w.reviews, want)
		}
	}
}

func TestActiveLooksAtTheRunEachTime(t *testing.T) {
	w := newWorld()
	c := w.cluster(t, clocktesting.NewFakeClock(start))
	id, err := c.Identify(t.Context(), jwt(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Active(t.Context(), id); err != nil {
		t.Errorf("a run that goes on: %v", err)
	}
	setCondition(t, c, metav1.ConditionUnknown)
	if err := c.Active(t.Context(), id); err != nil {
		t.Errorf("a run that goes on: %v", err)
	}
	setCondition(t, c, metav1.ConditionFalse)
	if err := c.Active(t.Context(), id); !errors.Is(err, ErrForbidden) {
		t.Errorf("a run that is over: got %v, want ErrForbidden", err)
	}
}

func setCondition(t *testing.T, c *Cluster, status metav1.ConditionStatus) {
	t.Helper()
	run := &v1alpha1.Run{}
	if err := c.client.Get(t.Context(), client.ObjectKey{Namespace: "ns", Name: "a"}, run); err != nil {
		t.Fatal(err)
	}
	run.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Status: status, Reason: "X"}}
	if err := c.client.Status().Update(t.Context(), run); err != nil {
		t.Fatal(err)
	}
}

// TestCallersAreNotRememberedForEver, so that memory doesn't grow with the Runs that there were.
func TestCallersAreNotRememberedForEver(t *testing.T) {
	clk := clocktesting.NewFakeClock(start)
	m := remembered[Identity]{clock: clk}
	for i := range maxRemembered + 100 {
		m.retain([32]byte{byte(i), byte(i >> 8)}, Identity{})
		if len(m.answers) > maxRemembered {
			t.Fatalf("%d callers are remembered, the most is %d", len(m.answers), maxRemembered)
		}
	}
	clk.Step(remember)
	m.retain([32]byte{31: 1}, Identity{})
	if len(m.answers) != 1 {
		t.Errorf("%d callers are remembered of whom all but one were here long ago", len(m.answers))
	}
}

func TestGone(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(*world)
		want  bool
		fails bool
	}{
		{"running", func(*world) {}, false, false},
		{"being deleted", func(w *world) {
			w.pod.DeletionTimestamp, w.pod.Finalizers = new(metav1.NewTime(start)), []string{"x/y"}
		}, false, false},
		{"deleted", func(w *world) { w.pod = &corev1.Pod{} }, true, false},
		{"made anew", func(w *world) { w.pod.UID = "new" }, true, false},
		{"succeeded", func(w *world) { w.pod.Status.Phase = corev1.PodSucceeded }, true, false},
		{"failed", func(w *world) { w.pod.Status.Phase = corev1.PodFailed }, true, false},
		{"its container has ended, and its phase doesn't say so yet", func(w *world) {
			endContainers(w.pod, 1)
		}, true, false},
		{"one of two containers has ended", func(w *world) { endContainers(w.pod, 2) }, false, false},
		{"its container has ended, and is started again", func(w *world) {
			endContainers(w.pod, 1)
			w.pod.Spec.RestartPolicy = corev1.RestartPolicyAlways
		}, false, false},
		{"the API server is down", func(w *world) { w.getErr = errors.New("down") }, false, true},
		{"the API server says no", func(w *world) {
			w.getErr = apierrors.NewForbidden(corev1.Resource("pods"), "a", errors.New("rbac"))
		}, false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld()
			test.spoil(w)
			h := state.Holder{Namespace: "ns", Run: "a", Pod: "a", PodUID: "pod-uid"}
			got, err := w.cluster(t, clocktesting.NewFakeClock(start)).Gone(t.Context(), h)
			if got != test.want || (err != nil) != test.fails {
				t.Errorf("got %v, %v; want %v", got, err, test.want)
			}
		})
	}
}

// endContainers gives the Pod containers, of which the first has ended.
func endContainers(p *corev1.Pod, containers int) {
	p.Spec.RestartPolicy = corev1.RestartPolicyNever
	p.Spec.Containers = make([]corev1.Container, containers)
	p.Status.ContainerStatuses = make([]corev1.ContainerStatus, containers)
	p.Status.ContainerStatuses[0].State.Terminated = &corev1.ContainerStateTerminated{ExitCode: 1}
}

func TestReport(t *testing.T) {
	const first, second = `{"version":1,"run":"a","class":"Applied"}`, `{"version":1,"run":"a","class":"NoChanges"}`
	w := newWorld()
	c := w.cluster(t, clocktesting.NewFakeClock(start))
	id, err := c.Identify(t.Context(), jwt(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	for i, step := range []struct {
		body string
		over bool
		want error
	}{
		{first, false, nil}, {first, false, nil}, {second, false, ErrReported},
		{`{"class":"Applied", "run":"a","version":1}`, true, nil}, {second, true, ErrForbidden},
	} {
		if step.over {
			setCondition(t, c, metav1.ConditionTrue)
		}
		if err := c.Report(t.Context(), id, []byte(step.body)); !errors.Is(err, step.want) {
			t.Errorf("%d: got %v, want %v", i, err, step.want)
		}
	}
	run := &v1alpha1.Run{}
	if err := c.client.Get(t.Context(), client.ObjectKey{Namespace: "ns", Name: "a"}, run); err != nil {
		t.Fatal(err)
	}
	if run.Status.Reported == nil || !sameJSON(run.Status.Reported.Raw, []byte(first)) {
		t.Errorf("reported is %v, want %s", run.Status.Reported, first)
	}
	old := Identity{Namespace: "ns", Run: "a", RunUID: "old", Pod: "a"}
	if err := c.Report(t.Context(), old, []byte(first)); !errors.Is(err, ErrForbidden) {
		t.Errorf("a report for a run that was made anew: got %v, want ErrForbidden", err)
	}
}
