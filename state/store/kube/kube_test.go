package kube

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/store/storetest"
)

const namespace = "plumbline-system"

func TestConformance(t *testing.T) {
	storetest.Run(t, func(*testing.T) state.Store { return New(fake.NewClientBuilder().Build(), namespace) })
}

// big doesn't pack, and takes three chunks.
func big() []byte {
	data := make([]byte, 2*maxChunk+1)
	x := uint32(1)
	for i := range data {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		data[i] = byte(x)
	}
	return data
}

// headFails has the creation of heads do something of its own.
func headFails(do func(create func() error) error) client.Client {
	return fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{Create: func(
		ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption,
	) error {
		create := func() error { return c.Create(context.WithoutCancel(ctx), obj, opts...) }
		if obj.GetLabels()[labelPart] == partHead {
			return do(create)
		}
		return create()
	}}).Build()
}

// Whatever the API server has refused for certain leaves nothing behind; whatever it may still do keeps its chunks.
func TestChunksGoAfterADefiniteRefusalOnly(t *testing.T) {
	secrets := schema.GroupResource{Resource: "secrets"}
	for _, test := range []struct {
		name string
		err  error
		left int
	}{
		{"forbidden", apierrors.NewForbidden(secrets, "x", errors.New("exceeded quota")), 0},
		{"invalid", apierrors.NewInvalid(schema.GroupKind{Kind: "Secret"}, "x", nil), 0},
		{"too large", apierrors.NewRequestEntityTooLargeError("x"), 0},
		{"somebody else's", apierrors.NewAlreadyExists(secrets, "x"), 0},
		{"a connection that broke", errors.New("connection reset"), 3},
		{"a deadline", context.DeadlineExceeded, 3},
		{"the API server's own time-out", apierrors.NewTimeoutError("x", 1), 3},
		{"the store of the API server", apierrors.NewServerTimeout(secrets, "create", 1), 3},
		{"a failure", apierrors.NewInternalError(errors.New("etcd")), 3},
		{"a proxy's refusal", apierrors.NewGenericServerResponse(403, "create", secrets, "x", "page", 0, true), 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := headFails(func(func() error) error { return test.err })
			if err := New(c, namespace).Create(t.Context(), "a/b", big()); err == nil {
				t.Error("creating succeeded, want the head's error")
			}
			wantSecrets(t, c, test.left)
		})
	}
}

// The head is on its way while its writer has given up and looked: nothing is there yet. Then it arrives.
func TestAHeadThatArrivesLateFindsItsChunks(t *testing.T) {
	var arrive func() error
	s := New(headFails(func(create func() error) error {
		arrive = create
		return context.DeadlineExceeded
	}), namespace)
	if err := s.Create(t.Context(), "a/b", big()); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("creating: got %v, want the head's error", err)
	}
	if _, err := s.Get(t.Context(), "a/b"); !errors.Is(err, state.ErrNotFound) {
		t.Fatalf("before it has arrived: got %v, want ErrNotFound", err)
	}
	if err := arrive(); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(t.Context(), "a/b"); err != nil || !bytes.Equal(got, big()) {
		t.Errorf("got %d bytes, %v; want the value", len(got), err)
	}
}

// A request that is repeated on its way meets its own first arrival.
func TestARepeatedHeadIsItsWritersOwn(t *testing.T) {
	s := New(headFails(func(create func() error) error {
		if err := create(); err != nil {
			return err
		}
		return apierrors.NewAlreadyExists(schema.GroupResource{Resource: "secrets"}, "x")
	}), namespace)
	if err := s.Create(t.Context(), "a/b", big()); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(t.Context(), "a/b"); err != nil || !bytes.Equal(got, big()) {
		t.Errorf("got %d bytes, %v; want the value", len(got), err)
	}
}

// A head whose creation seems to fail but has not must keep its chunks.
func TestCreateKeepsChunksThatAHeadNames(t *testing.T) {
	lost := errors.New("the answer was lost")
	s := New(headFails(func(create func() error) error { return errors.Join(lost, create()) }), namespace)
	if err := s.Create(t.Context(), "a/b", big()); !errors.Is(err, lost) {
		t.Errorf("creating: got %v, want the head's error", err)
	}
	if _, err := s.Get(t.Context(), "a/b"); err != nil {
		t.Errorf("reading what was written: %v", err)
	}
}

func TestDeleteLeavesNoChunksBehind(t *testing.T) {
	c := fake.NewClientBuilder().Build()
	s := New(c, namespace)
	if err := s.Create(t.Context(), "a/b", big()); err != nil {
		t.Fatal(err)
	}
	wantSecrets(t, c, 4)
	if err := s.Delete(t.Context(), "a/b"); err != nil {
		t.Fatal(err)
	}
	wantSecrets(t, c, 0)
}

func TestMissingChunkIsAnErrorAndNotAnAbsence(t *testing.T) {
	c := fake.NewClientBuilder().Build()
	s := New(c, namespace)
	if err := s.Create(t.Context(), "a/b", big()); err != nil {
		t.Fatal(err)
	}
	head, err := s.head(t.Context(), "a/b")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(t.Context(), s.named(chunksOf(head).names[1])); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), "a/b"); !errors.Is(err, state.ErrDamaged) || errors.Is(err, state.ErrNotFound) {
		t.Errorf("reading a damaged value: got %v, want ErrDamaged and not ErrNotFound", err)
	}
}

func TestForeign404IsAnError(t *testing.T) {
	secrets := schema.GroupResource{Resource: "secrets"}
	proxy := apierrors.NewGenericServerResponse(404, "get", secrets, "x", "page", 0, true)
	failing := interceptor.Funcs{Get: func(
		context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption,
	) error {
		return proxy
	}}
	s := New(fake.NewClientBuilder().WithInterceptorFuncs(failing).Build(), namespace)
	if _, err := s.Get(t.Context(), "a/b"); err == nil || errors.Is(err, state.ErrNotFound) {
		t.Errorf("reading through a broken proxy: got %v, want an error that isn't ErrNotFound", err)
	}
}

func TestSweep(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	s := New(fake.NewClientBuilder().Build(), namespace)
	c := s.client
	if err := s.Create(t.Context(), "whole", big()); err != nil {
		t.Fatal(err)
	}
	for name, made := range map[string]time.Time{"old": now.Add(-2 * time.Hour), "young": now.Add(-time.Minute)} {
		set := newChunkSet(name, 2*maxChunk)
		for _, chunkName := range set.names {
			chunk := s.newChunk(name, chunkName, []byte("x"))
			chunk.CreationTimestamp = metav1.NewTime(made)
			if err := c.Create(t.Context(), chunk); err != nil {
				t.Fatal(err)
			}
		}
	}
	swept, err := s.Sweep(t.Context(), now.Add(-time.Hour))
	if err != nil || swept != 2 {
		t.Errorf("swept %d, %v; want 2, the old orphans", swept, err)
	}
	wantSecrets(t, c, 4+2)
	if _, err := s.Get(t.Context(), "whole"); err != nil {
		t.Errorf("reading a value after the sweep: %v", err)
	}
}

func wantSecrets(t *testing.T, c client.Client, want int) {
	t.Helper()
	list := &corev1.SecretList{}
	if err := c.List(t.Context(), list, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != want {
		t.Errorf("there are %d secrets, want %d", len(list.Items), want)
	}
}
