package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/seal"
	"github.com/plumbline-dev/plumbline/state/store/open"
)

// keysTimeout bounds a command on keys; it reads all names there are, and rewrites what was never sealed.
const keysTimeout = 30 * time.Minute

// openSealed opens the store's seal, provided that the store is the one that the key ring was used with, and returns
// its ID. It waits for the API server rather than crash while it is away; that the keys don't fit is a reason to
// crash.
func openSealed(ctx context.Context, o seal.Options, which whichStore) (*seal.Store, string, error) {
	for {
		s, id, err := openKnown(ctx, o, which)
		if err == nil {
			warnOfBareRing(ctx, s, o.Log)
		}
		if err == nil || ctx.Err() != nil || forGood(err) {
			return s, id, err
		}
		o.Log.WarnContext(ctx, "the keys can't be read yet; trying again", "error", err)
		select {
		case <-ctx.Done():
		case <-o.Clock.After(startRetry):
		}
	}
}

// whichStore says which store is the right one.
type whichStore struct {
	known state.KnownStore
	// adopt is the ID of another one that a person says is right from now on.
	adopt string
}

// openKnown looks at the store before it opens the seal, which begins a data key where there is none: another store is
// left as it was found.
func openKnown(ctx context.Context, o seal.Options, which whichStore) (*seal.Store, string, error) {
	id, err := state.StoreID(ctx, o.Store)
	if err != nil {
		return nil, "", err
	}
	if err := state.Recognize(ctx, id, which.known, which.adopt); err != nil {
		return nil, "", err
	}
	s, err := seal.Open(ctx, o)
	if err != nil {
		return nil, "", err
	}
	return s, id, state.Remember(ctx, id, which.known)
}

// forGood tells whether the keys at hand won't ever fit.
func forGood(err error) bool {
	for _, reason := range []error{
		state.ErrOtherStore, state.ErrUnfit, seal.ErrNoRing, seal.ErrWrongRing, seal.ErrWrapped, seal.ErrWrongKey,
	} {
		if errors.Is(err, reason) {
			return true
		}
	}
	return false
}

func (f flags) sealing(c client.Client, raw state.Store, log *slog.Logger) seal.Options {
	o := seal.Options{
		Store: raw, Clock: clock.RealClock{}, Log: log,
		Ring: f.ring(c, log),
	}
	if f.refuseBare {
		o.Bare = seal.Refuse
	}
	return o
}

// keysCommand is one of plumbline-state keys.
type keysCommand struct {
	name, does string
	run        func(ctx context.Context, k keysRun) error
}

// keysRun is what such a command works with.
type keysRun struct {
	sealed *seal.Store
	log    *slog.Logger
	out    io.Writer
}

var keysCommands = []keysCommand{
	{"list", "tells which keys there are", listKeys},
	{"rotate", "puts a new key on the ring; from now on it is written with", rotateKeys},
	{"reseal", "wraps all data keys with the newest key, and seals what was never sealed", resealAll},
	{"prune", "takes the old keys off the ring once nothing needs them", pruneKeys},
	{"wrap", "wraps the key ring with the transit key's newest version", wrapRing},
	{"unwrap", "leaves the key ring bare, before the servers go on without a transit key", unwrapRing},
}

func findKeysCommand(name string) (keysCommand, error) {
	var help strings.Builder
	for _, c := range keysCommands {
		if c.name == name {
			return c, nil
		}
		fmt.Fprintf(&help, "\n  %-7s %s", c.name, c.does)
	}
	return keysCommand{}, fmt.Errorf("plumbline-state keys COMMAND [flags], where COMMAND is one of:%s", help.String())
}

// keys runs a command on keys; args begin with its name, and the flags are those that the servers run with.
func keys(ctx context.Context, args []string, out io.Writer) error {
	name := ""
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	command, err := findKeysCommand(name)
	if err != nil {
		return err
	}
	f, err := parseKeys(args)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, keysTimeout)
	defer cancel()
	log := slog.New(slog.DiscardHandler)
	c, err := connect(log)
	if err != nil {
		return err
	}
	store, err := open.Open(ctx, f.store, open.Options{Client: c, Namespace: f.namespace, Clock: clock.RealClock{}})
	if err != nil {
		return err
	}
	sealed, _, err := openKnown(ctx, f.sealing(c, store, log), f.which(c))
	if err != nil {
		return err
	}
	return command.run(ctx, keysRun{sealed: sealed, log: log, out: out})
}

func listKeys(ctx context.Context, k keysRun) error {
	st, err := k.sealed.Status(ctx)
	if err != nil {
		return err
	}
	for _, id := range st.RingKeys {
		primary := ""
		if id == st.Primary {
			primary = "  primary: what is new is sealed under it"
		}
		fmt.Fprintf(k.out, "ring key %08x%s\n", id, primary)
	}
	for _, d := range st.DataKeys {
		fmt.Fprintf(k.out, "data key %016x  under %08x\n", d.ID, d.Under)
	}
	return nil
}

func rotateKeys(ctx context.Context, k keysRun) error {
	st, err := k.sealed.Rotate(ctx)
	if err == nil {
		fmt.Fprintf(k.out, "ring key %08x is the primary one now; back the key ring up, then run keys reseal\n", st.Primary)
	}
	return err
}

func resealAll(ctx context.Context, k keysRun) error {
	n, err := k.sealed.Reseal(ctx)
	if err != nil {
		return err
	}
	service := state.New(state.Options{Store: k.sealed, Clock: clock.RealClock{}, Log: k.log})
	rewritten, err := service.Rewrite(ctx, k.sealed.Sealed)
	fmt.Fprintf(k.out, "%d data keys were wrapped anew, %d journals were sealed for the first time\n", n, rewritten)
	return err
}

func pruneKeys(ctx context.Context, k keysRun) error {
	gone, err := k.sealed.Prune(ctx)
	if err == nil {
		fmt.Fprintf(k.out, "keys taken off the ring: %08x\n", gone)
	}
	return err
}
