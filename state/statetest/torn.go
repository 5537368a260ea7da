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
	// Part takes each Parts-th of the points only, so that several tests can share them; with no Parts it takes all.
	Part, Parts int
}

// Torn cuts writes of a state's versions at bytes all along the way: the newest complete version is served each time,
// which is the one before or the new one, never part of one; a write that was acknowledged is there; and the next
// write goes on from it.
func Torn(t *testing.T, c Cuts) {
	t.Helper()
	torn := &tearing{Cuts: c, t: t, world: newWorld(c.Direct, 0, 0), by: state.Claim{Holder: holder("run"), LockID: "1"}}
	if err := torn.over(c.Direct).Lock(t.Context(), workspace, torn.by.Holder, lockInfo("1")); err != nil {
		t.Fatal(err)
	}
	var whole int64
	for range 3 { // the first one connects, which later ones need not
		before := c.Line.Sent()
		torn.goOn(c.Through)
		whole = c.Line.Sent() - before
	}
	for i := c.Part; i < c.Points; i += max(1, c.Parts) {
		// A little beyond the end too, where the answer alone is lost.
		torn.cut(1 + whole*int64(i)*11/10/int64(c.Points))
		torn.goOn(c.Direct)
	}
	t.Logf("%d writes of %d bytes, cut along %d bytes: %d not done, %d done without an answer, %d done",
		torn.kept+torn.unknown+torn.done, c.Size, whole, torn.kept, torn.unknown, torn.done)
	if torn.kept == 0 {
		t.Error("no cut came in time: nothing was shown")
	}
	torn.readAll()
}

// tearing is what Torn goes on with.
type tearing struct {
	Cuts
	t     *testing.T
	world *world
	by    state.Claim

	serial              int
	last                []byte // what is stored
	kept, unknown, done int
}

// over is a server that has just started and remembers nothing.
func (c *tearing) over(store state.Store) *state.Service {
	return state.New(state.Options{
		Store: store, Pods: c.world, Clock: clock.RealClock{}, Log: slog.New(slog.DiscardHandler),
	})
}

func (c *tearing) next() []byte {
	c.serial++
	return stateOf(c.serial, c.Size)
}

// goOn writes what comes next, which must succeed.
func (c *tearing) goOn(store state.Store) {
	c.t.Helper()
	c.last = c.next()
	if _, err := c.over(store).Write(c.t.Context(), workspace, c.by, c.last); err != nil {
		c.t.Fatalf("writing serial %d: %v", c.serial, err)
	}
}

// cut writes, cuts the line after so many bytes, and looks what is served then.
func (c *tearing) cut(after int64) {
	c.t.Helper()
	ctx, cut := context.WithCancel(c.t.Context())
	defer cut()
	c.Line.CutAfter(after, cut)
	tried := c.next()
	_, err := c.over(c.Through).Write(ctx, workspace, c.by, tried)
	c.Line.Mend()
	_, got, readErr := c.over(c.Direct).Newest(c.t.Context(), workspace)
	switch {
	case readErr != nil:
		c.t.Fatalf("cut after %d bytes: reading: %v", after, readErr)
	case bytes.Equal(got, tried) && err == nil:
		c.done++
	case bytes.Equal(got, tried):
		c.unknown++
	case bytes.Equal(got, c.last) && err != nil:
		c.kept++
	default:
		c.t.Fatalf("cut after %d bytes: the write ended with %v, and %d bytes are served that are neither before nor after",
			after, err, len(got))
	}
}

// readAll reads each version that is listed.
func (c *tearing) readAll() {
	c.t.Helper()
	versions, err := c.over(c.Direct).Versions(c.t.Context(), workspace)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, v := range versions {
		_, _, err := c.over(c.Direct).Version(c.t.Context(), workspace, v.Number)
		if err != nil && !errors.Is(err, state.ErrNotFound) {
			c.t.Errorf("version %d: %v", v.Number, err)
		}
	}
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
