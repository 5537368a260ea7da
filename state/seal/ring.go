package seal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// ring is a key ring that can be used.
type ring struct {
	handle *keyset.Handle
	aead   tink.AEAD
}

func newRing() (*ring, error) {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	return useRing(handle)
}

func useRing(handle *keyset.Handle) (*ring, error) {
	a, err := aead.New(handle)
	if err != nil {
		return nil, fmt.Errorf("using the key ring: %w", err)
	}
	return &ring{handle: handle, aead: a}, nil
}

func decodeRing(data []byte) (*ring, error) {
	if isWrapped(data) {
		return nil, ErrWrapped
	}
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(data)))
	if err != nil {
		// Tink's error may quote the key ring.
		return nil, errors.New("reading the key ring: it is no Tink keyset in JSON")
	}
	return useRing(handle)
}

func (r *ring) encode() ([]byte, error) {
	var b bytes.Buffer
	if err := insecurecleartextkeyset.Write(r.handle, keyset.NewJSONWriter(&b)); err != nil {
		return nil, fmt.Errorf("encoding the key ring: %w", err)
	}
	return b.Bytes(), nil
}

func (r *ring) primary() uint32 { return r.handle.KeysetInfo().GetPrimaryKeyId() }

func (r *ring) ids() []uint32 {
	var ids []uint32
	for _, key := range r.handle.KeysetInfo().GetKeyInfo() {
		ids = append(ids, key.GetKeyId())
	}
	return ids
}

// changed returns the ring after a change, and leaves this one as it is.
func (r *ring) changed(change func(*keyset.Manager) error) (*ring, error) {
	data, err := r.encode()
	if err != nil {
		return nil, err
	}
	copied, err := decodeRing(data)
	if err != nil {
		return nil, err
	}
	m := keyset.NewManagerFromHandle(copied.handle)
	if err := change(m); err != nil {
		return nil, fmt.Errorf("changing the key ring: %w", err)
	}
	handle, err := m.Handle()
	if err != nil {
		return nil, fmt.Errorf("changing the key ring: %w", err)
	}
	return useRing(handle)
}

func withNewPrimary(m *keyset.Manager) error {
	id, err := m.Add(aead.AES256GCMKeyTemplate())
	if err != nil {
		return err
	}
	return m.SetPrimary(id)
}

// wrapped names a data key under a key of the ring.
type wrapped struct {
	dataKey uint64
	ringKey uint32
}

func (w wrapped) name() string { return fmt.Sprintf("%s%016x/%08x", KeysDir, w.dataKey, w.ringKey) }

func parseWrapped(name string) (wrapped, error) {
	dataKey, ringKey, _ := strings.Cut(strings.TrimPrefix(name, KeysDir), "/")
	d, err := strconv.ParseUint(dataKey, 16, 64)
	if err != nil {
		return wrapped{}, fmt.Errorf("the name of data key %q: %w", name, err)
	}
	r, err := strconv.ParseUint(ringKey, 16, 32)
	if err != nil {
		return wrapped{}, fmt.Errorf("the name of data key %q: %w", name, err)
	}
	return wrapped{dataKey: d, ringKey: uint32(r)}, nil
}

// wraps lists the data keys and what each is wrapped with.
func (s *Store) wraps(ctx context.Context) (map[uint64][]wrapped, error) {
	names, err := s.Store.List(ctx, KeysDir)
	if err != nil {
		return nil, fmt.Errorf("listing data keys: %w", err)
	}
	found := map[uint64][]wrapped{}
	for _, name := range names {
		w, err := parseWrapped(name)
		if err != nil {
			return nil, err
		}
		found[w.dataKey] = append(found[w.dataKey], w)
	}
	return found, nil
}

func sorted(wraps map[uint64][]wrapped) []uint64 { return slices.Sorted(maps.Keys(wraps)) }
