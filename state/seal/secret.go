package seal

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/state"
)

// SecretRing keeps the key ring in a Secret. The client must not read from a cache.
type SecretRing struct {
	Client client.Client
	Secret client.ObjectKey
}

var (
	_ Ring             = SecretRing{}
	_ state.KnownStore = SecretRing{}
)

// The Secret's keys: the key ring, and the ID of the store that it is used with.
const (
	ringKey    = "keyset.json"
	storeIDKey = "store-id"
)

// Load implements Ring. A Secret without a key ring is one that is still to be filled.
func (r SecretRing) Load(ctx context.Context) ([]byte, error) {
	secret, err := r.get(ctx)
	if err != nil {
		return nil, err
	}
	if len(secret.Data[ringKey]) == 0 {
		return nil, fmt.Errorf("key %s of secret %s: %w", ringKey, r.Secret, state.ErrNotFound)
	}
	return secret.Data[ringKey], nil
}

func (r SecretRing) get(ctx context.Context) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	err := r.Client.Get(ctx, r.Secret, secret)
	// A 404 that doesn't come from the API server's own handler, such as a proxy's, is none.
	if apierrors.IsNotFound(err) && !apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse) {
		return nil, fmt.Errorf("secret %s: %w", r.Secret, state.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("reading secret %s: %w", r.Secret, err)
	}
	return secret, nil
}

// Create implements Ring.
func (r SecretRing) Create(ctx context.Context, ring []byte) error {
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: r.Secret.Namespace, Name: r.Secret.Name,
			Labels: map[string]string{"app.kubernetes.io/name": "plumbline", "app.kubernetes.io/component": "state"},
		},
		Data: map[string][]byte{ringKey: ring},
	}
	err := r.Client.Create(ctx, secret)
	if apierrors.IsAlreadyExists(err) {
		return r.fill(ctx, ring)
	}
	if err != nil {
		return fmt.Errorf("creating secret %s: %w", r.Secret, err)
	}
	return nil
}

// StoreID implements state.KnownStore.
func (r SecretRing) StoreID(ctx context.Context) (string, error) {
	secret, err := r.get(ctx)
	if errors.Is(err, state.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return string(secret.Data[storeIDKey]), nil
}

// SetStoreID implements state.KnownStore.
func (r SecretRing) SetStoreID(ctx context.Context, id string) error {
	secret, err := r.get(ctx)
	if err != nil {
		return err
	}
	return r.update(ctx, secret, storeIDKey, []byte(id))
}

func (r SecretRing) fill(ctx context.Context, ring []byte) error {
	secret, err := r.get(ctx)
	if err != nil {
		return err
	}
	if len(secret.Data[ringKey]) > 0 {
		return state.ErrExists
	}
	return r.update(ctx, secret, ringKey, ring)
}

// Replace implements Ring.
func (r SecretRing) Replace(ctx context.Context, old, next []byte) error {
	secret, err := r.get(ctx)
	if err != nil {
		return err
	}
	if !bytes.Equal(secret.Data[ringKey], old) {
		return ErrMoved
	}
	return r.update(ctx, secret, ringKey, next)
}

// update carries the resource version that was read, so of two at once one gets ErrMoved.
func (r SecretRing) update(ctx context.Context, secret *corev1.Secret, key string, value []byte) error {
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	secret.Data[key] = value
	err := r.Client.Update(ctx, secret)
	if apierrors.IsConflict(err) {
		return ErrMoved
	}
	if err != nil {
		return fmt.Errorf("updating secret %s: %w", r.Secret, err)
	}
	return nil
}
