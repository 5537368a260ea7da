package state_test

import (
	"context"
	"log/slog"
	"testing"

	"k8s.io/utils/clock"

	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/seal"
	"github.com/plumbline-dev/plumbline/state/statetest"
	"github.com/plumbline-dev/plumbline/state/store/folder"
	"github.com/plumbline-dev/plumbline/state/store/memory"
)

func TestPromisesOverMemory(t *testing.T) {
	statetest.Run(t, 40, func(*testing.T) state.Store { return &memory.Store{} })
}

func TestPromisesOverAFolder(t *testing.T) {
	statetest.Run(t, 2, func(t *testing.T) state.Store {
		s, err := folder.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

func TestPromisesOverASealedStore(t *testing.T) {
	statetest.Run(t, 4, func(t *testing.T) state.Store {
		s, err := seal.Open(t.Context(), seal.Options{
			Store: &memory.Store{}, Ring: &oneRing{}, Bare: seal.Refuse, Clock: clock.RealClock{},
			Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

// oneRing is a key ring that nobody changes.
type oneRing struct{ data []byte }

func (r *oneRing) Load(context.Context) ([]byte, error) {
	if r.data == nil {
		return nil, state.ErrNotFound
	}
	return r.data, nil
}

func (r *oneRing) Create(_ context.Context, ring []byte) error {
	r.data = ring
	return nil
}

func (r *oneRing) Replace(context.Context, []byte, []byte) error { return seal.ErrMoved }
