// Package memory is a state.Store that lives and dies with its process: for tests, and for trying things out.
package memory

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/plumbline-dev/plumbline/state"
)

// Store is a state.Store in memory. Its zero value is ready.
type Store struct {
	mu     sync.Mutex
	values map[string][]byte
}

var _ state.Store = (*Store)(nil)

// Create implements state.Store.
func (s *Store) Create(ctx context.Context, key string, data []byte) error {
	if err := usable(ctx, key); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.values[key]; ok {
		return state.ErrExists
	}
	if s.values == nil {
		s.values = map[string][]byte{}
	}
	s.values[key] = bytes.Clone(data)
	return nil
}

// Get implements state.Store.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	if err := usable(ctx, key); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.values[key]
	if !ok {
		return nil, state.ErrNotFound
	}
	return bytes.Clone(data), nil
}

// List implements state.Store.
func (s *Store) List(ctx context.Context, prefix string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := slices.Sorted(maps.Keys(s.values))
	return slices.DeleteFunc(keys, func(key string) bool { return !strings.HasPrefix(key, prefix) }), nil
}

// Delete implements state.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := usable(ctx, key); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.values, key)
	return nil
}

func usable(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return state.CheckKey(key)
}
