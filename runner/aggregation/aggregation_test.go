package aggregation

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

var start = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// registered is a registration of start, with a condition that it has had since start too.
func registered(conditions ...any) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"status": map[string]any{"conditions": conditions}}}
	u.SetGroupVersionKind(kind)
	u.SetName(APIService)
	u.SetUID("one")
	u.SetLabels(map[string]string{"app.kubernetes.io/name": "plumbline"})
	u.SetCreationTimestamp(metav1.NewTime(start.Add(-time.Hour)))
	return u
}

func condition(kind, status string) any {
	return map[string]any{
		"type": kind, "status": status, "reason": "MissingEndpoints", "message": "no endpoints",
		"lastTransitionTime": start.Format(time.RFC3339),
	}
}

func TestAbandoned(t *testing.T) {
	foreign := registered(condition("Available", "False"))
	foreign.SetLabels(nil)
	fresh := registered()
	fresh.SetCreationTimestamp(metav1.NewTime(start))
	for name, test := range map[string]struct {
		u     *unstructured.Unstructured
		after time.Duration
		want  bool
	}{
		"served":                   {registered(condition("Available", "True")), time.Hour, false},
		"not served, just now":     {registered(condition("Available", "False")), 14 * time.Second, false},
		"not served":               {registered(condition("Available", "False")), 15 * time.Second, true},
		"nobody knows":             {registered(condition("Available", "Unknown")), 15 * time.Second, true},
		"not looked at yet":        {fresh, 14 * time.Second, false},
		"never looked at":          {fresh, 15 * time.Second, true},
		"another condition":        {registered(condition("Other", "True")), time.Hour, true},
		"somebody else's":          {foreign, time.Hour, false},
		"a clock that went behind": {registered(condition("Available", "False")), -time.Hour, false},
	} {
		if why, got := abandoned(test.u, start.Add(test.after)); got != test.want || (got && why == "") {
			t.Errorf("%s: got %v because %q, want %v", name, got, why, test.want)
		}
	}
}

func keeper(
	funcs interceptor.Funcs, objects ...client.Object,
) (*Keeper, client.Client, *clocktesting.FakePassiveClock) {
	clk := clocktesting.NewFakePassiveClock(start)
	c := fake.NewClientBuilder().WithScheme(runtime.NewScheme()).WithObjects(objects...).
		WithInterceptorFuncs(funcs).Build()
	return &Keeper{Client: c, Live: c, Clock: clk, Log: logr.Discard()}, c, clk
}

func exists(t *testing.T, c client.Client) bool {
	t.Helper()
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(kind)
	err := c.Get(t.Context(), client.ObjectKey{Name: APIService}, u)
	if client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	return err == nil
}

func TestKeeperTakesAwayWhatNobodyServes(t *testing.T) {
	k, c, clk := keeper(interceptor.Funcs{}, registered(condition("Available", "False")))
	for _, step := range []struct {
		after time.Duration
		there bool
	}{{0, true}, {14 * time.Second, true}, {15 * time.Second, false}, {time.Minute, false}} {
		clk.SetTime(start.Add(step.after))
		if err := k.look(t.Context()); err != nil {
			t.Errorf("after %s: %v", step.after, err)
		}
		if got := exists(t, c); got != step.there {
			t.Errorf("after %s: it is there: %v, want %v", step.after, got, step.there)
		}
	}
}

// A server that comes back between look and deletion keeps its registration.
func TestKeeperDeletesWhatItSaw(t *testing.T) {
	var asked client.Preconditions
	k, _, clk := keeper(interceptor.Funcs{
		Delete: func(_ context.Context, _ client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			all := (&client.DeleteOptions{}).ApplyOptions(opts)
			asked = client.Preconditions(*all.Preconditions)
			resource := schema.GroupResource{Resource: "apiservices"}
			return apierrors.NewConflict(resource, o.GetName(), errors.New("it was changed"))
		},
	}, registered(condition("Available", "False")))
	clk.SetTime(start.Add(time.Minute))
	if err := k.look(t.Context()); err != nil {
		t.Errorf("got %v, want nothing: it is looked at again soon", err)
	}
	if asked.UID == nil || *asked.UID != "one" || asked.ResourceVersion == nil || *asked.ResourceVersion == "" {
		t.Errorf("deleted on the condition %+v", asked)
	}
}

func TestKeeperKeepsWhatItCannotRead(t *testing.T) {
	down := errors.New("down")
	k, _, clk := keeper(interceptor.Funcs{
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return down
		},
		Delete: func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error {
			t.Error("it was deleted unseen")
			return nil
		},
	})
	clk.SetTime(start.Add(time.Hour))
	if err := k.look(t.Context()); !errors.Is(err, down) {
		t.Errorf("got %v, want %v", err, down)
	}
}
