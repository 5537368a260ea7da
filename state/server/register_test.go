package server

import (
	"encoding/base64"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

// town is a cluster in which state servers come and go.
type town struct {
	client.Client
	t   *testing.T
	clk *clocktesting.FakeClock
}

func newTown(t *testing.T) *town {
	t.Helper()
	ca := must[pair](t)(newCA(start))
	system := metav1.ObjectMeta{Namespace: "sys", Name: "tls"}
	c := fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(
		proxyConfigOf(ca),
		&corev1.Secret{ObjectMeta: system, Data: map[string][]byte{keyCACert: []byte("the CA")}},
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "plumbline-state", UID: "role"}},
	).Build()
	return &town{c, t, clocktesting.NewFakeClock(start)}
}

// ready says which Pods are.
func (w *town) ready(pods ...string) {
	w.t.Helper()
	slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
		Namespace: "sys", Name: "state-1", Labels: map[string]string{discoveryv1.LabelServiceName: "state"},
	}}
	if err := client.IgnoreNotFound(w.Delete(w.t.Context(), slice)); err != nil {
		w.t.Fatal(err)
	}
	for _, pod := range append(pods, "-not-ready") {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{"10.0.0.1"}, TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: pod},
			Conditions: discoveryv1.EndpointConditions{Ready: new(pod != "-not-ready")},
		})
	}
	slice.ResourceVersion = ""
	if err := w.Create(w.t.Context(), slice); err != nil {
		w.t.Fatal(err)
	}
}

func (w *town) registrar(pod string) *Registrar {
	return NewRegistrar(Registration{
		Client: w, Service: client.ObjectKey{Namespace: "sys", Name: "state"}, Port: 8443, Pod: pod,
		Secret: client.ObjectKey{Namespace: "sys", Name: "tls"}, Owner: "plumbline-state",
		Front: NewFrontProxy(w, w.clk), Clock: w.clk, Log: slog.New(slog.DiscardHandler),
	})
}

func (w *town) registered() *unstructured.Unstructured {
	w.t.Helper()
	u := newAPIService()
	err := w.Get(w.t.Context(), client.ObjectKeyFromObject(u), u)
	if client.IgnoreNotFound(err) != nil {
		w.t.Fatal(err)
	}
	if err != nil {
		return nil
	}
	return u
}

func TestRegister(t *testing.T) {
	w := newTown(t)
	r := w.registrar("a")
	w.ready()
	if err := r.ensure(t.Context()); err == nil || w.registered() != nil {
		t.Errorf("nobody is ready: got %v, %v", err, w.registered())
	}
	w.ready("a")
	if err := r.ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	u := w.registered()
	want := map[string]any{
		"group": "state.plumbline.dev", "version": "v1alpha1", "groupPriorityMinimum": int64(100),
		"versionPriority": int64(10), "caBundle": base64.StdEncoding.EncodeToString([]byte("the CA")),
		"service": map[string]any{"namespace": "sys", "name": "state", "port": int64(8443)},
	}
	if diff := cmp.Diff(want, u.Object["spec"]); diff != "" {
		t.Errorf("registered (-want +got)\n%s", diff)
	}
	owner := []metav1.OwnerReference{{
		APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRole", Name: "plumbline-state", UID: "role",
	}}
	if diff := cmp.Diff(owner, u.GetOwnerReferences()); diff != "" {
		t.Errorf("owned by (-want +got)\n%s", diff)
	}
	if got := u.GetLabels()["app.kubernetes.io/name"]; got != "plumbline" {
		t.Errorf("it is labelled as %q's: the controller would not take it away", got)
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "sys", Name: "tls"}, Data: map[string][]byte{keyCACert: []byte("new")},
	}
	if err := w.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	if err := r.ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, _, _ := unstructured.NestedString(w.registered().Object, "spec", "caBundle")
	if got != base64.StdEncoding.EncodeToString([]byte("new")) {
		t.Errorf("the CA was renewed, and registered is %q", got)
	}
}

func TestTheLastOneTakesTheRegistrationAlong(t *testing.T) {
	w := newTown(t)
	a, b := w.registrar("a"), w.registrar("b")
	w.ready("a", "b")
	for _, step := range []struct {
		name  string
		do    func() error
		there bool
	}{
		{"a registers", func() error { return a.ensure(t.Context()) }, true},
		{"a leaves", func() error { return a.leave(t.Context()) }, true},
		{"a is gone", func() error { w.ready("b"); return nil }, true},
		{"b leaves", func() error { return b.leave(t.Context()) }, false},
		{"b leaves once more", func() error { return b.leave(t.Context()) }, false},
	} {
		if err := step.do(); err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
		if got := w.registered() != nil; got != step.there {
			t.Errorf("%s: registered %v, want %v", step.name, got, step.there)
		}
	}
}

// One that nobody can reach is taken away by the controller; it is not fought for.
func TestRegistrationIsNotFoughtFor(t *testing.T) {
	w := newTown(t)
	w.ready("a")
	r := w.registrar("a")
	tries := 0
	for range 60 * 60 / 10 {
		if err := r.ensure(t.Context()); err != nil {
			t.Fatal(err)
		}
		if u := w.registered(); u != nil {
			tries++
			if err := w.Delete(t.Context(), u); err != nil {
				t.Fatal(err)
			}
		}
		w.clk.Step(10 * time.Second)
	}
	if tries < 5 || tries > 15 {
		t.Errorf("registered %d times in an hour, want ever fewer", tries)
	}
}
