package state

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
)

// ErrUnfit is returned by Prove for a store that must not be used.
var ErrUnfit = errors.New("the store is unfit for states")

// ProbeDir is where Prove tries a store out. What a killed one has left there means nothing.
const ProbeDir = "probe/"

// CopyMark is in a store while another one is being copied into it, and until that is done.
const CopyMark = "copy/unfinished"

// Prove makes sure of what everything rests on, with the store as it really is: that a key which is taken keeps its
// value. Servers that call themselves compatible may ignore the condition and overwrite without a word; with such a
// one two Runs would hold a lock at once, so it is refused.
func Prove(ctx context.Context, store Store) error {
	key := ProbeDir + rand.Text()
	err := prove(ctx, store, key)
	if del := store.Delete(context.WithoutCancel(ctx), key); del != nil && err == nil {
		err = fmt.Errorf("deleting the probe: %w", del)
	}
	return err
}

func prove(ctx context.Context, store Store, key string) error {
	first, second := []byte("first "+rand.Text()), []byte("second "+rand.Text())
	if err := store.Create(ctx, key, first); err != nil {
		return fmt.Errorf("creating the probe: %w", err)
	}
	again := store.Create(ctx, key, second)
	if again != nil && !errors.Is(again, ErrExists) {
		return fmt.Errorf("creating the probe again: %w", again)
	}
	now, err := store.Get(ctx, key)
	switch {
	case err != nil:
		return fmt.Errorf("reading the probe: %w", err)
	case bytes.Equal(now, second):
		return fmt.Errorf("%w: it overwrites silently: a key that was taken has other bytes now, so locks would not hold "+
			"(does it know If-None-Match?)", ErrUnfit)
	case !bytes.Equal(now, first):
		return fmt.Errorf("%w: it returns other bytes than it was given", ErrUnfit)
	case again == nil:
		return fmt.Errorf("%w: it says that it has created a key which was taken", ErrUnfit)
	}
	return finished(ctx, store)
}

// finished returns an error for a store that another one is still being copied into.
func finished(ctx context.Context, store Store) error {
	_, err := store.Get(ctx, CopyMark)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("looking whether a copy is under way: %w", err)
	}
	return fmt.Errorf("%w: a copy into it was begun and isn't finished: run plumbline-state store copy again", ErrUnfit)
}
