package seal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

var (
	// ErrWrapped is returned for a wrapped key ring by a server that isn't told what it is wrapped with.
	ErrWrapped = errors.New("the key ring is wrapped by a transit key, and none is given: see --seal-transit")
	// ErrWrongKey is returned by a wrapping key that certainly hasn't wrapped what it is to unwrap.
	ErrWrongKey = errors.New("the wrapping key does not open the key ring")
)

// ringPurpose is bound to a wrapped ring: nothing else that was encrypted with the same key can take its place.
const ringPurpose = "plumbline key ring"

// WrappedRing is a Ring that is encrypted where it is kept, as Tink's EncryptedKeyset, with a key that never leaves a
// service. A bare one is read too, until it is wrapped by Wrap or by the next change.
type WrappedRing struct {
	Ring
	// Key is remote; an error that is not ErrWrongKey may pass.
	Key tink.AEADWithContext

	mu sync.Mutex
	// What was read last, for the ring is asked for every few seconds and changes every few months.
	sealed, plain []byte
}

// Load implements Ring.
func (w *WrappedRing) Load(ctx context.Context) ([]byte, error) {
	_, plain, err := w.load(ctx)
	return plain, err
}

// load returns the ring as it is kept and as it is used.
func (w *WrappedRing) load(ctx context.Context) (kept, plain []byte, err error) {
	kept, err = w.Ring.Load(ctx)
	if err != nil || !isWrapped(kept) {
		return kept, kept, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !bytes.Equal(kept, w.sealed) {
		if plain, err = w.unwrap(ctx, kept); err != nil {
			return nil, nil, err
		}
		w.sealed, w.plain = kept, plain
	}
	return kept, w.plain, nil
}

// Create implements Ring.
func (w *WrappedRing) Create(ctx context.Context, ring []byte) error {
	wrapped, err := w.wrap(ctx, ring)
	if err != nil {
		return err
	}
	return w.Ring.Create(ctx, wrapped)
}

// Replace implements Ring.
func (w *WrappedRing) Replace(ctx context.Context, old, next []byte) error {
	kept, plain, err := w.load(ctx)
	if err != nil {
		return err
	}
	if !bytes.Equal(plain, old) {
		return ErrMoved
	}
	wrapped, err := w.wrap(ctx, next)
	if err != nil {
		return err
	}
	return w.Ring.Replace(ctx, kept, wrapped)
}

// Wrap wraps the ring as it is: a bare one, and also a wrapped one, with the newest version of the key.
func (w *WrappedRing) Wrap(ctx context.Context) error {
	_, plain, err := w.load(ctx)
	if err != nil {
		return err
	}
	return w.Replace(ctx, plain, plain)
}

// Unwrap leaves the ring bare, for servers that will do without the key.
func (w *WrappedRing) Unwrap(ctx context.Context) error {
	kept, plain, err := w.load(ctx)
	if err != nil {
		return err
	}
	return w.Ring.Replace(ctx, kept, plain)
}

// Bare tells whether the ring is still to be wrapped.
func (w *WrappedRing) Bare(ctx context.Context) (bool, error) {
	kept, err := w.Ring.Load(ctx)
	return err == nil && !isWrapped(kept), err
}

// isWrapped tells an encrypted keyset from a bare one.
func isWrapped(ring []byte) bool {
	var fields struct{ EncryptedKeyset string }
	return json.Unmarshal(ring, &fields) == nil && fields.EncryptedKeyset != ""
}

func (w *WrappedRing) wrap(ctx context.Context, plain []byte) ([]byte, error) {
	r, err := decodeRing(plain)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	key := &telling{AEADWithContext: w.Key}
	if err := r.handle.WriteWithContext(ctx, keyset.NewJSONWriter(&b), key, []byte(ringPurpose)); err != nil {
		return nil, fmt.Errorf("wrapping the key ring: %w", key.or(err))
	}
	// What can't be opened again must never take the place of what can.
	if _, err := w.unwrap(ctx, b.Bytes()); err != nil {
		return nil, fmt.Errorf("trying the wrapped key ring: %w", err)
	}
	return b.Bytes(), nil
}

func (w *WrappedRing) unwrap(ctx context.Context, wrapped []byte) ([]byte, error) {
	key := &telling{AEADWithContext: w.Key}
	reader := keyset.NewJSONReader(bytes.NewReader(wrapped))
	handle, err := keyset.ReadWithContext(ctx, reader, key, []byte(ringPurpose))
	if err != nil {
		return nil, fmt.Errorf("unwrapping the key ring: %w", key.or(err))
	}
	r, err := useRing(handle)
	if err != nil {
		return nil, err
	}
	return r.encode()
}

// telling keeps the key's own error, of which Tink passes on the text alone.
type telling struct {
	tink.AEADWithContext
	err error
}

func (t *telling) EncryptWithContext(ctx context.Context, plaintext, bound []byte) (ciphertext []byte, err error) {
	ciphertext, t.err = t.AEADWithContext.EncryptWithContext(ctx, plaintext, bound)
	return ciphertext, t.err
}

func (t *telling) DecryptWithContext(ctx context.Context, ciphertext, bound []byte) (plaintext []byte, err error) {
	plaintext, t.err = t.AEADWithContext.DecryptWithContext(ctx, ciphertext, bound)
	return plaintext, t.err
}

// or returns the key's error, or that the ring is none: Tink's own error might quote it.
func (t *telling) or(error) error {
	if t.err != nil {
		return t.err
	}
	return errors.New("it is no Tink keyset")
}
