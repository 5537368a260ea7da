package state

import (
	"context"
	"errors"
	"unicode/utf8"
)

// Store keeps blobs under keys. Create is atomic: of two callers one gets ErrExists. Everything else of the state
// service is built on that alone, so a new kind of store is four methods and a run of the storetest suite.
//
// A key is a path of non-empty valid UTF-8 and at most MaxKey bytes. A value is seen whole or not at all.
type Store interface {
	// Create stores data under a key that has none yet, and returns ErrExists otherwise.
	Create(ctx context.Context, key string, data []byte) error
	// Get returns what is stored under the key, or ErrNotFound, or ErrDamaged when that is certain. Whatever else goes
	// wrong is another error: a store that can't be read never looks like an empty one.
	Get(ctx context.Context, key string) ([]byte, error)
	// List returns the keys that begin with the prefix, sorted.
	List(ctx context.Context, prefix string) ([]string, error)
	// Delete removes the key. Removing what isn't there is not an error.
	Delete(ctx context.Context, key string) error
}

// Sealed is what sealed values begin with. No JSON begins like it, and a store needn't try to compress what does.
const Sealed = "\x00plumbline-sealed"

// MaxKey is the length in bytes that a key never exceeds: object stores take names of 1,024 bytes, which has to be
// enough for a key of which each byte is escaped as three.
const MaxKey = 256

var (
	// ErrExists is returned by Create for a key that is taken.
	ErrExists = errors.New("the key exists already")
	// ErrNotFound is returned for what isn't there, and only when that is certain.
	ErrNotFound = errors.New("not found")
	// ErrDamaged is returned for what is there and can't be read as what was stored: it was cut or changed, or a piece is
	// missing. Trying again won't better it.
	ErrDamaged = errors.New("what is stored is damaged")
	// ErrKey is returned for a key that no store takes.
	ErrKey = errors.New("the key is empty, too long or not UTF-8")
)

// CheckKey returns ErrKey for a key that no store takes.
func CheckKey(key string) error {
	if key == "" || len(key) > MaxKey || !utf8.ValidString(key) {
		return ErrKey
	}
	return nil
}
