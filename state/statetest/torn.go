package statetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"

	"k8s.io/utils/clock"

	"github.com/plumbline-dev/plumbline/state"
)

// Cuts says over what writes are cut.
type Cuts struct {
	// Line is what Through goes over, to the server of Direct.
	Line            *Line
	Through, Direct state.Store
	// Size of a state, and at how many bytes of a write's conversation it is cut.
	Size, Points int
}

// Torn cuts writes of a state's versions at bytes all along the way: the newest complete version is served each time,
// which is the one before or the new one, never part of one; a write that was acknowledged is there; and the next
// write goes on from it.
func Torn(t *testing.T, c Cuts) {
	t.Helper()
	w := newWorld(c.Direct, 0, 0)
	by := state.Claim{Holder: holder("run"), LockID: "1"}
	if err := serviceOver(c.Direct, w).Lock(t.Context(), workspace, by.Holder, lockInfo("1")); err != nil {
		t.Fatal(err)
	}
	serial := 0
	next := func() []byte {
		serial++
		return stateOf(serial, c.Size)
	}
	write := func(ctx context.Context, over state.Store, data []byte) error {
		_, err := serviceOver(over, w).Write(ctx, workspace, by, data)
		return err
	}
	last := next()
	// The first one connects, which later ones need not.
	for range 2 {
		before := c.Line.Sent()
		if err := write(t.Context(), c.Through, last); err != nil {
			t.Fatal(err)
		}
		t.Logf("a write sends %d bytes", c.Line.Sent()-before)
		last = next()
	}
	before := c.Line.Sent()
	if err := write(t.Context(), c.Through, last); err != nil {
		t.Fatal(err)
	}
	whole := c.Line.Sent() - before
	kept, unknown, done := 0, 0, 0
	for i := range c.Points {
		ctx, cut := context.WithCancel(t.Context())
		// A little beyond the end too, where the answer alone is lost.
		c.Line.CutAfter(1+whole*int64(i)*11/10/int64(c.Points), cut)
		tried := next()
		err := write(ctx, c.Through, tried)
		c.Line.Mend()
		cut()
		_, got, readErr := serviceOver(c.Direct, w).Newest(t.Context(), workspace)
		switch {
		case readErr != nil:
			t.Fatalf("cut %d: reading: %v", i, readErr)
		case bytes.Equal(got, tried) && err == nil:
			done++
		case bytes.Equal(got, tried):
			unknown++
		case bytes.Equal(got, last) && err != nil:
			kept++
		default:
			t.Fatalf("cut %d: the write ended with %v, and %d bytes are served that are neither before nor after", i, err, len(got))
		}
		last = next()
		if err := write(t.Context(), c.Direct, last); err != nil {
			t.Fatalf("cut %d: the next write: %v", i, err)
		}
	}
	t.Logf("%d writes of %d bytes, cut along %d bytes: %d not done, %d done without an answer, %d done",
		c.Points, c.Size, whole, kept, unknown, done)
	if kept == 0 {
		t.Error("no cut came in time: nothing was shown")
	}
	versions, err := serviceOver(c.Direct, w).Versions(t.Context(), workspace)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range versions {
		_, _, err := serviceOver(c.Direct, w).Version(t.Context(), workspace, v.Number)
		if err != nil && !errors.Is(err, state.ErrNotFound) {
			t.Errorf("version %d: %v", v.Number, err)
		}
	}
}

// serviceOver is a server that has just started and remembers nothing.
func serviceOver(store state.Store, w *world) *state.Service {
	return state.New(state.Options{Store: store, Pods: w, Clock: clock.RealClock{}, Log: slog.New(slog.DiscardHandler)})
}

// stateOf is a state of a size that doesn't pack.
func stateOf(serial, size int) []byte {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	rnd := rand.New(rand.NewPCG(uint64(serial), 1)) //nolint:gosec // noise that is the same each time
	noise := make([]byte, size)
	for i := range noise {
		noise[i] = letters[rnd.IntN(len(letters))]
	}
	return fmt.Appendf(nil, `{"lineage":"l","serial":%d,"noise":%q}`, serial, noise)
}
