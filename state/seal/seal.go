// Package seal is a state.Store that seals what another one keeps: states, outputs, locks and archives, AES-256-GCM by
// Tink. Names stay readable; a value is bound to its name, so it can't be passed off as another's.
//
//	value -> gzip -> data key (one for all values from one rotation to the next) -> store
//	data key -> key ring's primary key -> store, as seal/key/<data key>/<ring key>
//	key ring -> Ring: a Secret, which is backed up apart from the store
//
// Values are only ever created, so they can't be rewritten when a key changes. That is what the data keys are for: a
// rotation begins a new one, and resealing wraps those few anew (see docs/adr/0010). That they can be unwrapped is
// checked at the start: a store whose key is missing or wrong never looks like an empty one.
package seal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/tink-crypto/tink-go/v2/tink"
	"k8s.io/utils/clock"

	"github.com/plumbline-dev/plumbline/state"
)

var (
	// ErrNoRing is returned at the start when something is sealed and there is no key ring.
	ErrNoRing = errors.New("the store is sealed and the key ring is missing: restore it; nothing can be read without it")
	// ErrWrongRing is returned when the key ring doesn't hold the key that something was sealed with.
	ErrWrongRing = errors.New("the key ring does not fit what is sealed in the store")
	// ErrDamaged is returned for a value that isn't what was sealed under its name: it was cut, changed or moved.
	ErrDamaged = fmt.Errorf("%w: a sealed value was changed, or was put under another name", state.ErrDamaged)
	// ErrUnsealed is returned for a value that should be sealed and isn't.
	ErrUnsealed = fmt.Errorf("%w: a value is not sealed", state.ErrDamaged)
	// ErrInUse is returned for a key that can't go because something is sealed with it.
	ErrInUse = errors.New("the key is in use")
)

// Ring keeps the key ring: a Tink keyset in JSON.
type Ring interface {
	// Load returns the key ring, or state.ErrNotFound when that is certain.
	Load(ctx context.Context) ([]byte, error)
	// Create stores the first key ring, and returns state.ErrExists when there is one.
	Create(ctx context.Context, ring []byte) error
	// Replace stores the next key ring, and returns ErrMoved when old isn't the present one.
	Replace(ctx context.Context, old, next []byte) error
}

// Bare says what to do with values that are not sealed, as they were before there was sealing.
type Bare int

const (
	// Read reads them: they are from before, and Reseal seals them. A store that was empty when sealing began has nothing
	// from before, and refuses them all the same.
	Read Bare = iota
	// Refuse takes them for forged.
	Refuse
)

// Options are what a Store works with.
type Options struct {
	Store state.Store
	Ring  Ring
	Bare  Bare
	Clock clock.Clock
	Log   *slog.Logger
}

// Store is a state.Store that seals. Open makes one.
type Store struct {
	Options

	loading sync.Mutex // one look at the ring at a time
	mu      sync.RWMutex
	keys    map[uint64]tink.AEAD
	newest  uint64
	missing map[uint64]time.Time // data keys that were looked for in vain, and when
}

var _ state.Store = (*Store)(nil)

// magic ends with the format's version.
const (
	family  = state.Sealed
	magic   = family + "\x01"
	idBytes = 8

	dir = "seal/"
	// KeysDir is where the data keys are: every sealed store has some, and no two have the same.
	KeysDir = dir + "key/"
	// markSuffix ends the names of journals' marks, which are empty and stay so: they can't be rewritten safely.
	markSuffix = "/000000000000"
)

// Create implements state.Store.
func (s *Store) Create(ctx context.Context, key string, data []byte) error {
	if strings.HasPrefix(key, dir) {
		return fmt.Errorf("%w: %s is for keys", state.ErrKey, dir)
	}
	if len(data) > 0 || !strings.HasSuffix(key, markSuffix) {
		sealed, err := s.seal(key, data)
		if err != nil {
			return err
		}
		data = sealed
	}
	return s.Store.Create(ctx, key, data)
}

// Get implements state.Store.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	data, err := s.Store.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	return s.open(ctx, key, data)
}

// List implements state.Store.
func (s *Store) List(ctx context.Context, prefix string) ([]string, error) {
	return s.Store.List(ctx, prefix)
}

// Delete implements state.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	if strings.HasPrefix(key, dir) {
		return fmt.Errorf("%w: %s is for keys", state.ErrKey, dir)
	}
	return s.Store.Delete(ctx, key)
}

func (s *Store) seal(key string, data []byte) ([]byte, error) {
	packed, err := pack(data)
	if err != nil {
		return nil, err
	}
	id, aead := s.primary()
	head := binary.BigEndian.AppendUint64([]byte(magic), id)
	sealed, err := aead.Encrypt(packed, bound(head, key))
	if err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	return append(head, sealed...), nil
}

// bound is what a sealed value can't be opened without: its format, its data key, its name.
func bound(head []byte, key string) []byte { return append(bytes.Clone(head), key...) }

func (s *Store) open(ctx context.Context, key string, data []byte) ([]byte, error) {
	if !isSealed(data) {
		return s.bare(key, data)
	}
	if len(data) < len(magic)+idBytes {
		return nil, fmt.Errorf("opening %s: %w", key, ErrDamaged)
	}
	head, sealed := data[:len(magic)+idBytes], data[len(magic)+idBytes:]
	if string(head[:len(magic)]) != magic {
		return nil, fmt.Errorf("opening %s: it is of a format that this release does not know", key)
	}
	aead, err := s.find(ctx, binary.BigEndian.Uint64(head[len(magic):]))
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", key, err)
	}
	packed, err := aead.Decrypt(sealed, bound(head, key))
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", key, ErrDamaged)
	}
	return unpack(packed)
}

func isSealed(data []byte) bool { return bytes.HasPrefix(data, []byte(family)) }

// bare decides on a value that isn't sealed.
func (s *Store) bare(key string, data []byte) ([]byte, error) {
	newest, _ := s.primary()
	mark := len(data) == 0 && strings.HasSuffix(key, markSuffix)
	if mark || s.Bare == Read && newest&bornSealed == 0 {
		return data, nil
	}
	return nil, fmt.Errorf("opening %s: %w", key, ErrUnsealed)
}

// Sealed tells whether what is stored under the key is sealed, or needn't be.
func (s *Store) Sealed(ctx context.Context, key string) (bool, error) {
	if strings.HasSuffix(key, markSuffix) {
		return true, nil
	}
	data, err := s.Store.Get(ctx, key)
	if errors.Is(err, state.ErrNotFound) {
		return true, nil // it went meanwhile
	}
	return isSealed(data), err
}
