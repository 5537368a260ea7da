package state_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/store/memory"
)

// overwriting is a server that doesn't know the condition: some S3-compatible ones are like that.
type overwriting struct {
	*memory.Store
	says error
}

func (s overwriting) Create(ctx context.Context, key string, data []byte) error {
	if err := s.Store.Create(ctx, key, data); !errors.Is(err, state.ErrExists) {
		return err
	}
	if err := s.Delete(ctx, key); err != nil {
		return err
	}
	return errors.Join(s.Store.Create(ctx, key, data), s.says)
}

// lying keeps the first value, but tells the second writer that its own is stored.
type lying struct{ *memory.Store }

func (s lying) Create(ctx context.Context, key string, data []byte) error {
	if err := s.Store.Create(ctx, key, data); !errors.Is(err, state.ErrExists) {
		return err
	}
	return nil
}

type broken struct{ *memory.Store }

func (broken) Create(context.Context, string, []byte) error { return errors.New("connection refused") }

func TestProve(t *testing.T) {
	m := &memory.Store{}
	for _, test := range []struct {
		name  string
		store state.Store
		unfit bool
		says  string
	}{
		{"a store that keeps its word", m, false, ""},
		{"one that overwrites silently", overwriting{m, nil}, true, "overwrites silently"},
		{"one that overwrites and says it has not", overwriting{m, state.ErrExists}, true, "overwrites silently"},
		{"one that says it has created what was taken", lying{m}, true, "was taken"},
		{"one that is away", broken{m}, false, "connection refused"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := state.Prove(t.Context(), test.store)
			if (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want it to say %q", err, test.says)
			}
			if errors.Is(err, state.ErrUnfit) != test.unfit {
				t.Errorf("got %v, want ErrUnfit: %v", err, test.unfit)
			}
			if keys, err := m.List(t.Context(), ""); err != nil || len(keys) > 0 {
				t.Errorf("left behind: %v, %v", keys, err)
			}
		})
	}
}
