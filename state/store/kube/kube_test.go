package kube

import (
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

func TestCreateLeavesNoChunksBehind(t *testing.T) {
	broken := errors.New("connection reset")
	headFails := interceptor.Funcs{Create: func(
		ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption,
	) error {
		if obj.GetLabels()[labelPart] == partHead {
			return broken
		}
		return c.Create(ctx, obj, opts...)
	}}
	c := fake.NewClientBuilder().WithInterceptorFuncs(headFails).Build()
	if err := New(c, namespace).Create(t.Context(), "a/b", big()); !errors.Is(err, broken) {
		t.Errorf("creating: got %v, want the head's error", err)
	}
	wantSecrets(t, c, 0)
}

// A head whose creation seems to fail but has not must keep its chunks.
func TestCreateKeepsChunksThatAHeadNames(t *testing.T) {
	lost := errors.New("the answer was lost")
	answerLost := interceptor.Funcs{Create: func(
		ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption,
	) error {
		if err := c.Create(ctx, obj, opts...); err != nil || obj.GetLabels()[labelPart] != partHead {
			return err
		}
		return lost
	}}
	s := New(fake.NewClientBuilder().WithInterceptorFuncs(answerLost).Build(), namespace)
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
	if _, err := s.Get(t.Context(), "a/b"); err == nil || errors.Is(err, state.ErrNotFound) {
		t.Errorf("reading a damaged value: got %v, want an error that isn't ErrNotFound", err)
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
