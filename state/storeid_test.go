package state

import (
	"context"
	"errors"
	"strings"
	"testing"
)

type knownStore string

func (k *knownStore) StoreID(context.Context) (string, error) { return string(*k), nil }

func (k *knownStore) SetStoreID(_ context.Context, id string) error {
	*k = knownStore(id)
	return nil
}

func TestAStoreHasOneID(t *testing.T) {
	store := newFakeStore()
	first, err := StoreID(t.Context(), store)
	if err != nil || first == "" {
		t.Fatalf("got %q, %v", first, err)
	}
	if again, err := StoreID(t.Context(), store); err != nil || again != first {
		t.Errorf("asked again it is %q, %v; want %q", again, err, first)
	}
	if other, err := StoreID(t.Context(), newFakeStore()); err != nil || other == first {
		t.Errorf("another store has %q too, %v", other, err)
	}
	broken := newFakeStore()
	_ = broken.Create(t.Context(), StoreIDKey, []byte("<html>"))
	if _, err := StoreID(t.Context(), broken); !errors.Is(err, ErrUnfit) {
		t.Errorf("an ID that is none: %v", err)
	}
}

func TestAnotherStoreIsRefused(t *testing.T) {
	const this, that = "aaaaaaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbbbbbb"
	for _, test := range []struct {
		name         string
		known, adopt string
		refused      bool
		after        string
	}{
		{"the first start, or the first of this release", "", "", false, this},
		{"the same store", this, "", false, this},
		{"a new or another store under an old ring", that, "", true, that},
		{"a person says that it is the one", that, this, false, this},
		{"a person has said so of another one, and left it standing", that, "cccccccccccccccccccccccccc", true, that},
		{"the flag stays after it was answered", this, this, false, this},
	} {
		t.Run(test.name, func(t *testing.T) {
			known := knownStore(test.known)
			err := Recognize(t.Context(), this, &known, test.adopt)
			if errors.Is(err, ErrOtherStore) != test.refused {
				t.Fatalf("got %v, want refused: %t", err, test.refused)
			}
			if err != nil && !strings.Contains(err.Error(), "--adopt-store="+this) {
				t.Errorf("it doesn't say what to do: %v", err)
			}
			if err == nil {
				err = Remember(t.Context(), this, &known)
			}
			if string(known) != test.after {
				t.Errorf("then %q is known, want %q (%v)", known, test.after, err)
			}
		})
	}
}
