package runner

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/internal/testkit"
)

func forbidden(why string) error {
	return apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "vpn", errors.New(why))
}

func terminating() error {
	err := apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "vpn", errors.New("being terminated"))
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	return err
}

// condition is what the one Run of the world says.
func (w *world) condition() metav1.Condition {
	w.t.Helper()
	runs := w.runs()
	if len(runs) != 1 {
		w.t.Fatalf("there are %d Runs: %v", len(runs), names(runs))
	}
	c := apimeta.FindStatusCondition(runs[0].Status.Conditions, v1alpha1.ConditionSucceeded)
	if c == nil {
		w.t.Fatalf("Run %s says nothing", runs[0].Name)
	}
	return *c
}

// TestWhatIsRefusedIsSaidAndHeals: whatever refuses the Secret or the Pod, Run and Workspace have its words, no attempt
// is used up, nothing is tried in a loop, and when it gives way the same Run goes on.
func TestWhatIsRefusedIsSaidAndHeals(t *testing.T) {
	webhook := apierrors.NewInternalError(errors.New(`failed calling webhook "pods.mesh.example": connection refused`))
	policy := apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, "vpn", nil)
	policy.ErrStatus.Message = "ValidatingAdmissionPolicy 'labels' with binding 'all' denied request: no team"
	for _, test := range []struct {
		name   string
		err    error
		reason string
		words  string
	}{
		{"a quota", forbidden("exceeded quota: few, requested: pods=1, used: pods=3, limited: pods=3"), "QuotaExceeded",
			"exceeded quota: few"},
		{"a quota that wants a request", forbidden("failed quota: few: must specify limits.cpu"), "QuotaExceeded",
			"must specify limits.cpu"},
		{"a webhook that is down", webhook, v1alpha1.ReasonRefused, "pods.mesh.example"},
		{"a webhook that says no", forbidden(`admission webhook "x" denied the request: no`), v1alpha1.ReasonRefused,
			"denied the request: no"},
		{"a policy that says no", policy, v1alpha1.ReasonRefused, "denied request: no team"},
		{"PodSecurity", forbidden(`violates PodSecurity "restricted:latest"`), v1alpha1.ReasonRefused, "PodSecurity"},
		{"a missing ServiceAccount", forbidden("error looking up service account team/terraform"),
			v1alpha1.ReasonRefused, "service account"},
		{"an API server that has just started", forbidden("RBAC: clusterrole not found"), v1alpha1.ReasonRefused, "RBAC"},
		{"an overloaded API server", apierrors.NewTooManyRequests("slow down", 1), v1alpha1.ReasonRefused, "slow down"},
	} {
		for _, what := range []string{"create Secret", "create Pod"} {
			t.Run(test.name+", "+what, func(t *testing.T) {
				w := newWorld(t, vpn().Obj())
				refuses := true
				w.fault = func(_ *world, when, write string) error {
					if when == "before" && write == what && refuses {
						return test.err
					}
					return nil
				}
				w.settle()
				w.waits(test.reason, test.words)
				if n := w.triesInTenMinutes(what); n < 6 || n > 20 {
					t.Errorf("it was tried %d times in ten minutes", n)
				}
				refuses = false
				w.goesOn()
			})
		}
	}
}

// waits: Run and Workspace say for what.
func (w *world) waits(reason, words string) {
	w.t.Helper()
	if c := w.condition(); c.Status != metav1.ConditionUnknown || c.Reason != reason ||
		!strings.Contains(c.Message, words) {
		w.t.Errorf("the Run says %+v", c)
	}
	if o := w.workspace(); !strings.Contains(o.Status.WaitingFor, words) {
		w.t.Errorf("the Workspace waits for %q", o.Status.WaitingFor)
	}
}

func (w *world) triesInTenMinutes(what string) (tries int) {
	w.t.Helper()
	for range 60 {
		w.clock.Step(10 * time.Second)
		w.settle()
	}
	for _, write := range w.writes {
		if write == what {
			tries++
		}
	}
	return tries
}

// goesOn: what was refused is refused no more, and the one Run that there was ends well.
func (w *world) goesOn() {
	w.t.Helper()
	w.clock.Step(6 * time.Minute)
	w.settle()
	if r := w.runs()[0]; len(w.live()) != 1 || r.Spec.Attempt != 1 || r.Status.Refused != nil {
		w.t.Errorf("given way to, %d Pods run; Run %+v", len(w.live()), r.Status)
	}
	w.drive("Ready", w.ready)
	w.condition()
}

func TestAnEditIsTriedAtOnce(t *testing.T) {
	w := newWorld(t, vpn().Obj())
	w.fault = func(w *world, when, what string) error {
		if when == "before" && what == "create Pod" && w.workspace().Generation == 1 {
			return forbidden("violates PodSecurity")
		}
		return nil
	}
	for range 20 {
		w.settle()
		w.clock.Step(time.Minute)
	}
	w.settle()
	w.edit(func(o *v1alpha1.Workspace) { o.Generation++ })
	w.settle()
	if len(w.live()) != 1 {
		t.Errorf("the Run says %+v", w.condition())
	}
}

func TestWhatEndsALaunch(t *testing.T) {
	for _, test := range []struct {
		name  string
		err   error
		class job.Class
	}{
		{"what is created is wrong", apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, "vpn", nil), job.ConfigInvalid},
		{"its namespace is being deleted", terminating(), job.Canceled},
	} {
		for _, what := range []string{"create Secret", "create Pod"} {
			t.Run(test.name+", "+what, func(t *testing.T) {
				w := newWorld(t, vpn().Obj())
				w.fault = func(_ *world, when, write string) error {
					if when == "before" && write == what {
						return test.err
					}
					return nil
				}
				w.settle()
				if c := w.condition(); c.Reason != string(test.class) || c.Message == "" {
					t.Errorf("the Run ended as %+v", c)
				}
			})
		}
	}
}

// TestNoNodeTakesThePod: it is waited for, with the scheduler's words, and the same Run goes on.
func TestNoNodeTakesThePod(t *testing.T) {
	w := newWorld(t, vpn().Obj())
	w.settle()
	p := w.live()[0]
	p.Status.Phase = corev1.PodPending
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse,
		Reason: "Unschedulable", Message: "0/3 nodes are available: 3 Insufficient memory."}}
	w.must(w.base.Status().Update(t.Context(), &p))
	for range 10 {
		w.clock.Step(time.Hour)
		w.settle()
	}
	if c := w.condition(); c.Reason != v1alpha1.ReasonUnschedulable ||
		!strings.Contains(c.Message, "Insufficient memory") {
		t.Errorf("the Run says %+v", c)
	}
	if why := w.workspace().Status.WaitingFor; !strings.Contains(why, "Insufficient memory") {
		t.Errorf("the Workspace waits for %q", why)
	}
	w.drive("Ready", w.ready)
	if w.condition(); len(w.made) == 0 || w.made["Pod "+p.Name] != 1 {
		t.Errorf("made: %v", w.made)
	}
}

// TestAPodThatSomebodyElseMade under the Run's name: it is never taken for the Run's.
func TestAPodThatSomebodyElseMade(t *testing.T) {
	stranger := func(w *world) *corev1.Pod {
		m := metav1.ObjectMeta{Namespace: testkit.Namespace, Name: w.runs()[0].Name, UID: "strange"}
		return &corev1.Pod{ObjectMeta: m}
	}
	owned := func(w *world) *corev1.Pod {
		p := testkit.Pod(&w.runs()[0]).Obj()
		p.UID = "forged"
		return p
	}
	unlabelled := func(w *world) *corev1.Pod {
		p := owned(w)
		p.Labels = nil
		return p
	}
	for _, test := range []struct {
		name    string
		make    func(*world) *corev1.Pod
		removed bool
	}{{"of nobody", stranger, false}, {"that names the Run as its owner", owned, true},
		{"that names it, without labels", unlabelled, true}} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, vpn().Obj())
			w.outrun(test.make)
			w.settle()
			w.clock.Step(time.Minute)
			w.settle()
			r := w.runs()[0]
			if launched := r.Status.StartedAt != nil; launched != test.removed {
				t.Errorf("launched: %v; the Run says %+v", launched, w.condition())
			}
			if !test.removed {
				if c := w.condition(); c.Reason != v1alpha1.ReasonNameConflict || !strings.Contains(c.Message, r.Name) {
					t.Errorf("the Run says %+v", c)
				}
				w.must(w.base.Delete(t.Context(), stranger(w)))
				w.clock.Step(time.Minute)
			}
			w.drive("Ready", w.ready)
			if r := w.runs()[0]; len(w.runs()) != 1 || r.Status.PodUID == "forged" || r.Status.PodUID == "strange" {
				t.Errorf("%v; the Run's Pod is %q", names(w.runs()), r.Status.PodUID)
			}
		})
	}
}

// outrun makes a Pod right before the controller makes its first.
func (w *world) outrun(other func(*world) *corev1.Pod) {
	made := false
	w.fault = func(w *world, when, what string) error {
		if when == "before" && what == "create Pod" && !made {
			made = true
			return w.base.Create(w.t.Context(), other(w))
		}
		return nil
	}
}

// TestAPodThatTookARunningRunsName: the Run's Pod is deleted, and somebody makes another one in its place.
func TestAPodThatTookARunningRunsName(t *testing.T) {
	w := newWorld(t, vpn().Obj())
	w.settle()
	p := w.live()[0]
	w.must(w.base.Delete(t.Context(), &p))
	forged := testkit.Pod(w.run(p.Name)).Said(job.Result{Class: job.Applied}).Obj()
	forged.UID = "forged"
	w.must(w.base.Create(t.Context(), forged))
	w.settle()
	w.clock.Step(10 * time.Second)
	w.settle()
	if c := w.condition(); c.Reason != string(job.PodLost) {
		t.Errorf("the Run believes it: %+v", c)
	}
}

// TestARecordOutlivesOtherWriters: somebody cancels the Run between its Pod and the record of it.
func TestARecordOutlivesOtherWriters(t *testing.T) {
	w := newWorld(t, vpn().Obj())
	w.fault = func(w *world, when, what string) error {
		if when == "after" && what == "create Pod" {
			r := w.runs()[0]
			r.Spec.Cancel = true
			return w.base.Update(t.Context(), &r)
		}
		return nil
	}
	w.must(w.pass())
	if r := w.runs()[0]; r.Status.PodUID == "" || r.Status.PodUID != podUID(w.live()) {
		t.Errorf("the Run's Pod is %q, there is %q", r.Status.PodUID, podUID(w.live()))
	}
}

// TestTwoControllersLaunch: one has lost its lease between the Pod and the record of it, and its successor has launched
// the Run meanwhile. The Pod that isn't recorded goes.
func TestTwoControllersLaunch(t *testing.T) {
	w := newWorld(t, vpn().Obj())
	once := false
	w.fault = func(w *world, when, what string) error {
		if when != "after" || what != "create Pod" || once {
			return nil
		}
		once = true
		r := w.runs()[0]
		before := r.DeepCopy()
		r.Status.StartedAt, r.Status.PodName, r.Status.PodUID = new(metav1.NewTime(w.clock.Now())), r.Name, "successors"
		return w.base.Status().Patch(t.Context(), &r, client.MergeFrom(before))
	}
	for range 3 {
		_ = w.pass()
	}
	if r := w.runs()[0]; r.Status.PodUID != "successors" || len(w.live()) != 0 {
		t.Errorf("the Run's Pod is %q; %d Pods run", r.Status.PodUID, len(w.live()))
	}
}

// TestASidecarThatDoesNotEnd: the Run is over with its driver, and its Pod is ended.
func TestASidecarThatDoesNotEnd(t *testing.T) {
	w := newWorld(t, vpn().Obj())
	w.settle()
	p := w.live()[0]
	p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "mesh"})
	w.must(w.base.Update(t.Context(), &p))
	encoded, err := job.Encode(job.Result{Run: p.Name, Class: job.Applied})
	w.must(err)
	p.Status.Phase = corev1.PodRunning
	p.Status.ContainerStatuses = []corev1.ContainerStatus{
		{Name: "mesh", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}},
		{Name: "runner", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			Message: string(encoded)}}},
	}
	w.must(w.base.Status().Update(t.Context(), &p))
	w.settle()
	if c := w.condition(); c.Reason != string(job.Applied) || len(w.live()) != 0 {
		t.Errorf("the Run says %+v; %d Pods are left", c, len(w.live()))
	}
}

func podUID(pods []corev1.Pod) types.UID {
	if len(pods) == 1 {
		return pods[0].UID
	}
	return types.UID(fmt.Sprintf("%d Pods", len(pods)))
}
