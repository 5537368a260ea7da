package state

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// StoreIDKey holds the store's ID, which isn't sealed: it has to be read before any key is used, and is no secret. So
// it is there before the first data key, and a store that holds nothing else is a new one.
const StoreIDKey = "store/id"

// ErrOtherStore is returned for a store that isn't the one which the service has used before.
var ErrOtherStore = errors.New("this is another store than the one that the key ring was used with")

// KnownStore remembers, apart from the store, which one the service has used: beside the key ring.
type KnownStore interface {
	// StoreID returns the ID, empty for none yet.
	StoreID(ctx context.Context) (string, error)
	// SetStoreID makes it another one.
	SetStoreID(ctx context.Context, id string) error
}

var isStoreID = regexp.MustCompile(`^[a-z0-9]{16,64}$`)

// StoreID returns the ID of a store, and gives it one if it has none. Of several servers at once one gives it. The
// store is the bare one, beneath all sealing.
func StoreID(ctx context.Context, bare Store) (string, error) {
	id, err := bare.Get(ctx, StoreIDKey)
	if errors.Is(err, ErrNotFound) {
		err = bare.Create(ctx, StoreIDKey, []byte(strings.ToLower(rand.Text())))
		if err == nil || errors.Is(err, ErrExists) {
			id, err = bare.Get(ctx, StoreIDKey)
		}
	}
	if err != nil {
		return "", fmt.Errorf("reading the store's ID: %w", err)
	}
	if !isStoreID.Match(id) {
		return "", fmt.Errorf("%w: the store's ID under %s is no ID", ErrUnfit, StoreIDKey)
	}
	return string(id), nil
}

// Recognize returns ErrOtherStore for a store that is not the known one, unless its ID is the one that is to be
// adopted. Before the first time none is known, and any is fine: it is remembered by Remember, once its keys have
// proven to fit.
func Recognize(ctx context.Context, id string, known KnownStore, adopt string) error {
	before, err := known.StoreID(ctx)
	if err != nil {
		return fmt.Errorf("reading which store is known: %w", err)
	}
	if before == "" || before == id || adopt == id {
		return nil
	}
	return fmt.Errorf("%w: that was store %s, and this is store %s. Point the service at the former one again (--store), "+
		"or, if this one is to be used from now on, start it with --adopt-store=%s (state.store.adopt of the chart)",
		ErrOtherStore, before, id, id)
}

// Remember makes the store the known one.
func Remember(ctx context.Context, id string, known KnownStore) error {
	before, err := known.StoreID(ctx)
	if err == nil && before != id {
		err = known.SetStoreID(ctx, id)
	}
	if err != nil {
		return fmt.Errorf("noting which store is used: %w", err)
	}
	return nil
}
