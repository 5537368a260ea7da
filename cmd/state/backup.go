package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/seal"
)

// A backup is a copy of the store and, apart from it, the key ring as it is kept: bare, or wrapped by its transit key.
// Neither is of any use without the other.

// keptRing is the key ring as it is kept.
func (s storeRun) keptRing() seal.SecretRing {
	return seal.SecretRing{Client: s.client, Secret: client.ObjectKey{Namespace: s.namespace, Name: s.sealSecret}}
}

func backUp(ctx context.Context, s storeRun) error {
	// First the ring: data keys that are made from here on are wrapped with what it has, or with a key that a rotation
	// adds, and then the copy tells.
	ring, err := s.keptRing().Load(ctx)
	if err != nil {
		return fmt.Errorf("reading the key ring: %w", err)
	}
	toStdout := s.keyRing == "-"
	if toStdout {
		s.out = os.Stderr // the ring alone goes to standard output
	}
	damaged := s.transfer(ctx, s.store, s.to)
	if damaged != nil && !errors.Is(damaged, errIncomplete) {
		return damaged
	}
	again, err := s.keptRing().Load(ctx)
	if err != nil {
		return fmt.Errorf("reading the key ring: %w", err)
	}
	if !bytes.Equal(ring, again) {
		return errors.New("the key ring was changed meanwhile: remove this backup and make another one")
	}
	if toStdout {
		_, err = os.Stdout.Write(ring)
	} else {
		err = writeNew(s.keyRing, ring)
	}
	if err != nil {
		return fmt.Errorf("writing the key ring: %w", err)
	}
	s.say("The key ring is in %s: keep it apart from the copy. Whoever has both can read every state.", s.keyRing)
	return damaged
}

// writeNew writes a private file that there isn't yet: a backup of another day is not to be overwritten.
func writeNew(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func restore(ctx context.Context, s storeRun) error {
	ring, err := s.readRing()
	if err != nil {
		return fmt.Errorf("reading the key ring: %w", err)
	}
	if err := s.restoreRing(ctx, ring); err != nil {
		return err
	}
	if err := s.transfer(ctx, s.from, s.store); err != nil && !errors.Is(err, errIncomplete) {
		return err
	}
	s.say("Opening all that was restored.")
	return verifyStore(ctx, s)
}

func (s storeRun) readRing() ([]byte, error) {
	if s.keyRing == "-" {
		return io.ReadAll(s.in)
	}
	return os.ReadFile(s.keyRing)
}

// restoreRing makes the key ring, unless there is this very one. Another one is somebody's, and stays.
func (s storeRun) restoreRing(ctx context.Context, ring []byte) error {
	err := s.keptRing().Create(ctx, ring)
	if !errors.Is(err, state.ErrExists) {
		return err
	}
	there, err := s.keptRing().Load(ctx)
	if err != nil {
		return fmt.Errorf("reading the key ring that is there: %w", err)
	}
	if !bytes.Equal(there, ring) {
		return fmt.Errorf("secret %s holds another key ring: stop the state service, see that nothing needs that ring, and "+
			"delete the secret before a restore", s.keptRing().Secret)
	}
	return nil
}
