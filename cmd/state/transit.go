package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/state/seal"
)

// ring is where the key ring is kept: in a Secret, wrapped if there is a key for that.
func (f flags) ring(c client.Client, log *slog.Logger) seal.Ring {
	secret := f.secretRing(c)
	if f.transit == nil {
		return secret
	}
	key := *f.transit
	key.Log = func(format string, args ...any) { log.Warn(fmt.Sprintf(format, args...)) }
	return &seal.WrappedRing{Ring: secret, Key: &key}
}

func (f flags) secretRing(c client.Client) seal.SecretRing {
	return seal.SecretRing{Client: c, Secret: client.ObjectKey{Namespace: f.namespace, Name: f.sealSecret}}
}

// which store is the right one stands beside the key ring.
func (f flags) which(c client.Client) whichStore { return whichStore{f.secretRing(c), f.adoptStore} }

// warnOfBareRing tells that a transit key is given and not used yet.
func warnOfBareRing(ctx context.Context, s *seal.Store, log *slog.Logger) {
	ring, ok := s.Ring.(*seal.WrappedRing)
	if !ok {
		return
	}
	if bare, err := ring.Bare(ctx); err == nil && bare {
		log.WarnContext(ctx, "the key ring is not wrapped yet: run keys wrap")
	}
}

var errNoTransit = errors.New("there is no transit key: give --seal-transit as the servers have it")

func wrapRing(ctx context.Context, k keysRun) error {
	ring, ok := k.sealed.Ring.(*seal.WrappedRing)
	if !ok {
		return errNoTransit
	}
	if err := ring.Wrap(ctx); err != nil {
		return err
	}
	fmt.Fprintln(k.out, "the key ring is wrapped; what was backed up before can still be read by whoever has it: "+
		"run keys rotate, reseal and prune to make it worthless")
	return nil
}

func unwrapRing(ctx context.Context, k keysRun) error {
	ring, ok := k.sealed.Ring.(*seal.WrappedRing)
	if !ok {
		return errNoTransit
	}
	if err := ring.Unwrap(ctx); err != nil {
		return err
	}
	fmt.Fprintln(k.out, "the key ring is bare; the servers can go on without --seal-transit")
	return nil
}
