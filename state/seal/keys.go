package seal

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
	"golang.org/x/sync/errgroup"

	"github.com/plumbline-dev/plumbline/state"
)

const (
	// refreshEvery is how soon a new data key is written with; it is read with at once.
	refreshEvery   = 10 * time.Second
	refreshTimeout = 20 * time.Second
	// askAgain is how long a data key that wasn't found isn't looked for again.
	askAgain   = time.Second
	maxMissing = 1000
	// scanners look for sealed values side by side.
	scanners = 8
)

// Open returns a Store whose keys are there and fit. It makes a key ring when there is none and nothing is sealed yet.
func Open(ctx context.Context, o Options) (*Store, error) {
	s := &Store{Options: o, keys: map[uint64]tink.AEAD{}, missing: map[uint64]time.Time{}}
	wraps, err := s.wraps(ctx)
	if err != nil {
		return nil, err
	}
	if len(wraps) == 0 {
		if err := s.begin(ctx); err != nil {
			return nil, err
		}
	}
	return s, s.refresh(ctx)
}

// begin makes the first keys, unless something is sealed with others. Replicas may do so at once: data keys are many,
// and the key ring is the one that was created first.
func (s *Store) begin(ctx context.Context) error {
	found, err := s.look(ctx)
	if err != nil {
		return err
	}
	if found.sealed {
		wraps, err := s.wraps(ctx)
		if err == nil && len(wraps) == 0 {
			err = fmt.Errorf("%w: its data keys (%s) are gone", ErrWrongRing, KeysDir)
		}
		return err // without an error: another replica has begun meanwhile
	}
	r, err := s.ring(ctx)
	if errors.Is(err, ErrNoRing) {
		r, err = s.newRing(ctx)
	}
	if err != nil {
		return err
	}
	if found.empty {
		return s.newDataKey(ctx, r, bornSealed)
	}
	return s.newDataKey(ctx, r, 0)
}

func (s *Store) newRing(ctx context.Context) (*ring, error) {
	first, err := newRing()
	if err != nil {
		return nil, err
	}
	data, err := first.encode()
	if err != nil {
		return nil, err
	}
	s.Log.InfoContext(ctx, "making a key ring: back it up, nothing can be read without it")
	if err := s.Ring.Create(ctx, data); err != nil && !errors.Is(err, state.ErrExists) {
		return nil, fmt.Errorf("creating the key ring: %w", err)
	}
	return s.ring(ctx)
}

func (s *Store) ring(ctx context.Context) (*ring, error) {
	data, err := s.Ring.Load(ctx)
	if errors.Is(err, state.ErrNotFound) {
		return nil, ErrNoRing
	}
	if err != nil {
		return nil, fmt.Errorf("reading the key ring: %w", err)
	}
	return decodeRing(data)
}

// contents are what a store holds that has no data key: nothing at all, or something sealed.
type contents struct{ empty, sealed bool }

// look reads all there is, which happens once in the life of a store, before its first data key.
func (s *Store) look(ctx context.Context) (contents, error) {
	names, err := s.Store.List(ctx, "")
	if err != nil {
		return contents{}, fmt.Errorf("looking for what is sealed: %w", err)
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		return strings.HasPrefix(name, dir) || strings.HasPrefix(name, state.ProbeDir) || name == state.StoreIDKey
	})
	var found atomic.Bool
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(scanners)
	for _, name := range names {
		group.Go(func() error {
			data, err := s.Store.Get(ctx, name)
			if isSealed(data) {
				found.Store(true)
			}
			if err != nil && !errors.Is(err, state.ErrNotFound) {
				return fmt.Errorf("looking for what is sealed: %w", err)
			}
			return nil
		})
	}
	err = group.Wait()
	return contents{empty: len(names) == 0, sealed: found.Load()}, err
}

// bornSealed is set in the IDs of the data keys of a store that was empty when its first one was made. It holds nothing
// that isn't sealed, so a bare value in it is forged. Later data keys inherit it, and an ID is bound to its key: who
// may write to the store and has no key can't take it back.
const bornSealed = 1 << 63

// newDataKey makes a data key with an ID above all others, so that it becomes the one that is written with.
// Its ID is not below the given one.
func (s *Store) newDataKey(ctx context.Context, r *ring, floor uint64) error {
	wraps, err := s.wraps(ctx)
	if err != nil {
		return err
	}
	id, err := nextID(append(slices.Collect(maps.Keys(wraps)), floor))
	if err != nil {
		return err
	}
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return fmt.Errorf("making a data key: %w", err)
	}
	return s.wrap(ctx, r, id, handle)
}

// nextID counts up, and adds chance: two that are made at once differ.
func nextID(ids []uint64) (uint64, error) {
	var highest uint64
	for _, id := range ids {
		highest = max(highest, id>>32)
	}
	var chance [4]byte
	if _, err := rand.Read(chance[:]); err != nil {
		return 0, fmt.Errorf("making a data key: %w", err)
	}
	return (highest+1)<<32 | uint64(binary.BigEndian.Uint32(chance[:])), nil
}

// wrap stores a data key under the ring's primary key.
func (s *Store) wrap(ctx context.Context, r *ring, id uint64, handle *keyset.Handle) error {
	w := wrapped{dataKey: id, ringKey: r.primary()}
	var b bytes.Buffer
	if err := handle.WriteWithAssociatedData(keyset.NewBinaryWriter(&b), r.aead, []byte(w.name())); err != nil {
		return fmt.Errorf("wrapping a data key: %w", err)
	}
	if err := s.Store.Create(ctx, w.name(), b.Bytes()); err != nil && !errors.Is(err, state.ErrExists) {
		return fmt.Errorf("storing a data key: %w", err)
	}
	return nil
}

// unwrap opens a data key by any of its wraps. ErrNotFound means that all of them have just been replaced.
func (s *Store) unwrap(ctx context.Context, r *ring, wraps []wrapped) (*keyset.Handle, error) {
	failed := fmt.Errorf("data key: %w", state.ErrNotFound)
	for _, w := range wraps {
		data, err := s.Store.Get(ctx, w.name())
		if errors.Is(err, state.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading a data key: %w", err)
		}
		handle, err := keyset.ReadWithAssociatedData(keyset.NewBinaryReader(bytes.NewReader(data)), r.aead, []byte(w.name()))
		if err == nil {
			return handle, nil
		}
		failed = fmt.Errorf("%w: data key %016x is wrapped with key %d; the ring has %v",
			ErrWrongRing, w.dataKey, w.ringKey, r.ids())
	}
	return nil, failed
}

// refresh looks for data keys that are not known yet.
func (s *Store) refresh(ctx context.Context) error {
	s.loading.Lock()
	defer s.loading.Unlock()
	return s.load(ctx)
}

// load is refresh for those who hold the lock. When a data key is wrapped anew meanwhile it looks once more.
func (s *Store) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	err := s.loadOnce(ctx)
	if errors.Is(err, state.ErrNotFound) {
		err = s.loadOnce(ctx)
	}
	return err
}

func (s *Store) loadOnce(ctx context.Context) error {
	// The ring last: whatever was wrapped before the listing, this ring has its key.
	wraps, err := s.wraps(ctx)
	if err != nil {
		return err
	}
	r, err := s.ring(ctx)
	if err != nil {
		return err
	}
	for id, ws := range wraps {
		if s.known(id) != nil {
			continue
		}
		handle, err := s.unwrap(ctx, r, ws)
		if err != nil {
			return err
		}
		key, err := aead.New(handle)
		if err != nil {
			return fmt.Errorf("using a data key: %w", err)
		}
		s.learn(id, key)
	}
	return nil
}

func (s *Store) learn(id uint64, key tink.AEAD) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[id] = key
	s.newest = max(s.newest, id)
}

func (s *Store) known(id uint64) tink.AEAD {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.keys[id]
}

func (s *Store) primary() (uint64, tink.AEAD) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.newest, s.keys[s.newest]
}

// find returns the data key, and looks for it when it isn't known: another replica may have begun to use it.
func (s *Store) find(ctx context.Context, id uint64) (tink.AEAD, error) {
	if key := s.known(id); key != nil {
		return key, nil
	}
	s.loading.Lock()
	defer s.loading.Unlock()
	if key := s.known(id); key != nil {
		return key, nil
	}
	unknown := fmt.Errorf("%w: %w: it is sealed with data key %016x, which is not there",
		state.ErrDamaged, ErrWrongRing, id)
	if asked, ok := s.missing[id]; ok && s.Clock.Since(asked) < askAgain {
		return nil, unknown
	}
	if err := s.load(ctx); err != nil {
		return nil, err
	}
	if key := s.known(id); key != nil {
		return key, nil
	}
	if len(s.missing) >= maxMissing {
		clear(s.missing)
	}
	s.missing[id] = s.Clock.Now()
	return nil, unknown
}

// Keep looks for new data keys until ctx ends. What it can't find out changes nothing: the keys at hand go on.
func (s *Store) Keep(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.Clock.After(refreshEvery):
		}
		if err := s.refresh(ctx); err != nil && ctx.Err() == nil {
			s.Log.ErrorContext(ctx, "the keys can't be read; the server goes on with those that it has, and would not start",
				"error", err)
		}
	}
}
