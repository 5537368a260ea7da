package seal

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/plumbline-dev/plumbline/state/store/memory"
)

// fakeKey is a key that could be far away.
type fakeKey struct {
	tink.AEAD
	mu   sync.Mutex
	down error
	uses int
}

func newKey(t *testing.T) *fakeKey {
	t.Helper()
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		t.Fatal(err)
	}
	a, err := aead.New(handle)
	if err != nil {
		t.Fatal(err)
	}
	return &fakeKey{AEAD: a}
}

func (f *fakeKey) used() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.uses++
	return f.down
}

func (f *fakeKey) EncryptWithContext(_ context.Context, plaintext, bound []byte) ([]byte, error) {
	if err := f.used(); err != nil {
		return nil, err
	}
	return f.Encrypt(plaintext, bound)
}

func (f *fakeKey) DecryptWithContext(_ context.Context, ciphertext, bound []byte) ([]byte, error) {
	if err := f.used(); err != nil {
		return nil, err
	}
	plaintext, err := f.Decrypt(ciphertext, bound)
	if err != nil {
		return nil, ErrWrongKey
	}
	return plaintext, nil
}

// bareOf is what a wrapped ring holds, as its key's owner knows it.
func bareOf(t *testing.T, w *WrappedRing) []byte {
	t.Helper()
	plain, err := w.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

func TestARingThatIsMadeUnderAKeyIsWrapped(t *testing.T) {
	raw, kept, key := &memory.Store{}, &fakeRing{}, newKey(t)
	w := &WrappedRing{Ring: kept, Key: key}
	create(t, open(t, raw, w), "state/u/1", secret)
	if !isWrapped(kept.data) || bytes.Contains(kept.data, []byte("keyData")) {
		t.Errorf("kept is %s", kept.data)
	}
	if plain := bareOf(t, w); isWrapped(plain) {
		t.Error("it is used wrapped")
	}
	wantValue(t, open(t, raw, &WrappedRing{Ring: kept, Key: key}), "state/u/1", secret)
}

func TestAWrappedRingAtTheStart(t *testing.T) {
	away := errors.New("Vault is sealed")
	for name, test := range map[string]struct {
		ring func(t *testing.T, kept *fakeRing, key *fakeKey) Ring
		want error
	}{
		"with its key": {func(_ *testing.T, kept *fakeRing, key *fakeKey) Ring {
			return &WrappedRing{Ring: kept, Key: key}
		}, nil},
		"with another key": {func(t *testing.T, kept *fakeRing, _ *fakeKey) Ring {
			return &WrappedRing{Ring: kept, Key: newKey(t)}
		}, ErrWrongKey},
		"without a key": {func(_ *testing.T, kept *fakeRing, _ *fakeKey) Ring { return kept }, ErrWrapped},
		"with a key that is away": {func(_ *testing.T, kept *fakeRing, key *fakeKey) Ring {
			key.down = away
			return &WrappedRing{Ring: kept, Key: key}
		}, away},
		"for another purpose": {func(t *testing.T, kept *fakeRing, key *fakeKey) Ring {
			r, err := newRing()
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			if err := r.handle.WriteWithContext(t.Context(), keyset.NewJSONWriter(&b), key, []byte("other")); err != nil {
				t.Fatal(err)
			}
			kept.data = b.Bytes()
			return &WrappedRing{Ring: kept, Key: key}
		}, ErrWrongKey},
	} {
		t.Run(name, func(t *testing.T) {
			raw, kept, key := &memory.Store{}, &fakeRing{}, newKey(t)
			create(t, open(t, raw, &WrappedRing{Ring: kept, Key: key}), "state/u/1", secret)
			ring := test.ring(t, kept, key)
			before := bytes.Clone(kept.data)
			s, err := Open(t.Context(), options(raw, ring))
			if !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			if !bytes.Equal(before, kept.data) {
				t.Error("the ring was changed")
			}
			if err == nil {
				wantValue(t, s, "state/u/1", secret)
			}
		})
	}
}

// A key that is away when there is nothing yet must not lead to a ring that is bare.
func TestNoRingIsMadeWithoutItsKey(t *testing.T) {
	key, kept := newKey(t), &fakeRing{}
	key.down = errors.New("Vault is sealed")
	_, err := Open(t.Context(), options(&memory.Store{}, &WrappedRing{Ring: kept, Key: key}))
	if !errors.Is(err, key.down) {
		t.Errorf("got %v, want %v", err, key.down)
	}
	if kept.data != nil {
		t.Errorf("a ring was made: %s", kept.data)
	}
}

func TestWrapAndUnwrap(t *testing.T) {
	raw, kept, key := &memory.Store{}, &fakeRing{}, newKey(t)
	create(t, open(t, raw, kept), "state/u/1", secret) // from before there was a key
	w := &WrappedRing{Ring: kept, Key: key}
	s := open(t, raw, w)
	wantBare := func(want bool) {
		t.Helper()
		if bare, err := w.Bare(t.Context()); bare != want || err != nil || isWrapped(kept.data) == want {
			t.Errorf("bare: got %v, %v; want %v", bare, err, want)
		}
		wantValue(t, open(t, raw, w), "state/u/1", secret)
	}
	wantBare(true)
	first := bytes.Clone(kept.data)
	for range 2 { // the second time with the newest version of the key
		wrap(t, w, kept)
		wantBare(false)
	}
	if _, err := s.Rotate(t.Context()); err != nil {
		t.Error(err)
	}
	wantBare(false)
	if _, err := s.Reseal(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := s.Prune(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := Open(t.Context(), options(raw, &fakeRing{data: first})); !errors.Is(err, ErrWrongRing) {
		t.Errorf("with the ring from before: got %v, want ErrWrongRing", err)
	}
	if err := w.Unwrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantBare(true)
	wantValue(t, open(t, raw, kept), "state/u/1", secret)
}

// wrap has a ring wrapped, which has to change what is kept.
func wrap(t *testing.T, w *WrappedRing, kept *fakeRing) {
	t.Helper()
	before := bytes.Clone(kept.data)
	if err := w.Wrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(before, kept.data) {
		t.Error("nothing was changed")
	}
}

// Two that change the ring at once: one of them is told.
func TestAWrappedRingIsReplacedOnce(t *testing.T) {
	kept := &fakeRing{}
	w := &WrappedRing{Ring: kept, Key: newKey(t)}
	s := open(t, &memory.Store{}, w)
	old := bytes.Clone(bareOf(t, w))
	if _, err := s.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := bytes.Clone(kept.data)
	if err := w.Replace(t.Context(), old, old); !errors.Is(err, ErrMoved) || !bytes.Equal(before, kept.data) {
		t.Errorf("got %v, want ErrMoved and no change", err)
	}
}

// A running server needs the key when the ring changes, not every ten seconds.
func TestAKeyThatGoesAwayLater(t *testing.T) {
	raw, kept, key := &memory.Store{}, &fakeRing{}, newKey(t)
	s := open(t, raw, &WrappedRing{Ring: kept, Key: key})
	before := key.uses
	key.down = errors.New("Vault is sealed")
	for range 3 {
		if err := s.refresh(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if key.uses != before {
		t.Errorf("the key was used %d times", key.uses-before)
	}
	create(t, s, "state/u/1", secret)
	wantValue(t, s, "state/u/1", secret)
	if _, err := s.Rotate(t.Context()); !errors.Is(err, key.down) {
		t.Errorf("rotating: got %v, want %v", err, key.down)
	}
}

func TestTransitAddress(t *testing.T) {
	for address, want := range map[string]string{
		"https://vault:8200/plumbline":                                            "",
		"https://vault/k?mount=t&auth=auth/jwt&role=r&namespace=n&ca=/f&token=/t": "",
		"https://vault:8200":                                                      "name of the key",
		"https://vault:8200/transit/k":                                            "name of the key",
		"vault:8200/k":                                                            "looks like",
		"https://user:password@vault/k":                                           "looks like",
		"https://vault/k?rolle=r":                                                 "no parameter rolle",
		"postgres://vault/k":                                                      "looks like",
		"https://vault/k?role=r&password=p":                                       "no parameter password",
	} {
		_, err := ParseTransit(address)
		if want == "" && err == nil {
			continue
		}
		if !errors.Is(err, ErrTransitURL) || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), "password@") {
			t.Errorf("%s: got %v, want %q", address, err, want)
		}
	}
	tr, err := ParseTransit("https://vault:8200/k")
	if err != nil || tr.mount != "transit" || tr.login.AuthPath != "auth/kubernetes" ||
		tr.login.Address != "https://vault:8200" {
		t.Errorf("got %+v, %v", tr, err)
	}
}
