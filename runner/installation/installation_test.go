package installation

import (
	"context"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/internal/testkit"
)

func TestGate(t *testing.T) {
	const ours, theirs = "plumbline-system", "plumbline-two"
	for _, test := range []struct {
		name   string
		owner  string
		heard  time.Duration // ago; 0 for never
		claims Claims
		works  bool
		event  bool
	}{
		{"a new Workspace", "", 0, Takes, true, false},
		{"a new Workspace, for its Runs", "", 0, Waits, false, false},
		{"ours", ours, 0, Takes, true, false},
		{"ours, for its Runs", ours, 0, Waits, true, false},
		{"another's, which is at work", theirs, time.Second, Takes, false, true},
		{"another's, which restarts", theirs, 9 * time.Minute, Takes, false, true},
		{"another's, for its Runs", theirs, time.Second, Waits, false, false},
		{"another's, which was uninstalled", theirs, 0, Takes, true, false},
		{"another's, which is silent for long", theirs, 11 * time.Minute, Takes, true, false},
		{"the same, for its Runs: until it is ours", theirs, 11 * time.Minute, Waits, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := testkit.Workspace("vpn").With(func(w *v1alpha1.Workspace) {
				w.Annotations = map[string]string{v1alpha1.AnnotationInstallation: test.owner}
			}).Obj()
			objects := []client.Object{w}
			if test.heard > 0 {
				objects = append(objects, &coordinationv1.Lease{
					ObjectMeta: metav1.ObjectMeta{Namespace: theirs, Name: Lease},
					Spec:       coordinationv1.LeaseSpec{RenewTime: new(metav1.NewMicroTime(testkit.At(-test.heard)))},
				})
			}
			scheme := runtime.NewScheme()
			_ = v1alpha1.AddToScheme(scheme)
			_ = coordinationv1.AddToScheme(scheme)
			c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()
			recorder := events.NewFakeRecorder(10)
			worked := false
			g := &Gate{
				Reconciler: reconcile.Func(func(context.Context, ctrl.Request) (ctrl.Result, error) {
					worked = true
					return ctrl.Result{}, nil
				}),
				Client: c, Live: c, Recorder: recorder, Clock: testkit.Clock(), Namespace: ours, Claims: test.claims,
			}
			result, err := g.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(w)})
			if err != nil || worked != test.works || (len(recorder.Events) > 0) != test.event {
				t.Errorf("worked: %t, %d events, %v; want %t, %t", worked, len(recorder.Events), err, test.works, test.event)
			}
			if (result.RequeueAfter > 0) != test.event {
				t.Errorf("looks again after %s", result.RequeueAfter)
			}
		})
	}
}

// What a lost Run has left in Vault is its own installation's to revoke: the other one doesn't know of it.
func TestGate_ByRun(t *testing.T) {
	w := testkit.Workspace("vpn").With(func(w *v1alpha1.Workspace) {
		w.Annotations = map[string]string{v1alpha1.AnnotationInstallation: "theirs"}
	}).Obj()
	r := testkit.Run("vpn", "vpn-1").Obj()
	scheme := runtime.NewScheme()
	_ = v1alpha1.AddToScheme(scheme)
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(w, r).Build()
	for installation, want := range map[string]bool{"theirs": true, "ours": false} {
		worked := false
		g := &Gate{Client: c, Live: c, Namespace: installation, ByRun: true, Reconciler: reconcile.Func(
			func(context.Context, ctrl.Request) (ctrl.Result, error) {
				worked = true
				return ctrl.Result{}, nil
			})}
		_, err := g.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(r)})
		if err != nil || worked != want {
			t.Errorf("%s: worked: %t, %v", installation, worked, err)
		}
	}
}

func TestGate_ADeletedWorkspace(t *testing.T) {
	scheme := runtime.NewScheme()
	_ = v1alpha1.AddToScheme(scheme)
	c := fake.NewClientBuilder().WithScheme(scheme).Build()
	worked := false
	g := &Gate{Client: c, Live: c, Namespace: "ours", Reconciler: reconcile.Func(
		func(context.Context, ctrl.Request) (ctrl.Result, error) {
			worked = true
			return ctrl.Result{}, nil
		})}
	if _, err := g.Reconcile(t.Context(), ctrl.Request{}); err != nil || !worked {
		t.Errorf("worked: %t, %v", worked, err)
	}
}
