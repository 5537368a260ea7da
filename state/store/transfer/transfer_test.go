package transfer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/store/folder"
	"github.com/plumbline-dev/plumbline/state/store/memory"
)

// broken is a store that fails where a test tells it to.
type broken struct {
	state.Store
	fail func(op, key string) error
}

func (b *broken) Get(ctx context.Context, key string) ([]byte, error) {
	if err := b.fail("get", key); err != nil {
		return nil, err
	}
	return b.Store.Get(ctx, key)
}

func (b *broken) Create(ctx context.Context, key string, data []byte) error {
	if err := b.fail("create", key); err != nil {
		return err
	}
	return b.Store.Create(ctx, key, data)
}

// filled is a store with n values and a data key.
func filled(t *testing.T, n int, dataKey string) state.Store {
	t.Helper()
	s := &memory.Store{}
	put(t, s, dataKeys+dataKey+"/01", "key")
	put(t, s, state.ProbeDir+"x", "of a service that starts")
	for i := range n {
		put(t, s, fmt.Sprintf("state/u/%012d", i), strings.Repeat("x", i))
	}
	return s
}

func put(t *testing.T, s state.Store, key, data string) {
	t.Helper()
	if err := s.Create(t.Context(), key, []byte(data)); err != nil {
		t.Fatal(err)
	}
}

// content is all that is in a store, but for probes.
func content(t *testing.T, s state.Store) map[string]string {
	t.Helper()
	keys, err := s.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, key := range keys {
		data, err := s.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(key, state.ProbeDir) {
			all[key] = string(data)
		}
	}
	return all
}

func wantCopy(t *testing.T, from, to state.Store) {
	t.Helper()
	if diff := cmp.Diff(content(t, from), content(t, to)); diff != "" {
		t.Errorf("the copy differs (-source +copy):\n%s", diff)
	}
	if err := state.Prove(t.Context(), to); err != nil {
		t.Errorf("a service doesn't start on the copy: %v", err)
	}
}

func TestCopy(t *testing.T) {
	from := filled(t, 20, "1")
	to, err := folder.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r, err := Copy(t.Context(), Options{From: from, To: to})
	if err != nil || r.Values != 21 || r.Copied != 21 || len(r.Damaged) > 0 {
		t.Errorf("got %+v, %v; want 21 values", r, err)
	}
	wantCopy(t, from, to)
}

// A copy that was broken off anywhere goes on, and what has changed meanwhile is followed; no service starts before.
func TestACopyGoesOn(t *testing.T) {
	from := filled(t, 20, "1")
	raw := &memory.Store{}
	for _, at := range []int{0, 7, 12} {
		last := fmt.Sprintf("state/u/%012d", at)
		to := &broken{raw, func(op, key string) error {
			if op == "create" && key == last {
				return errors.New("down")
			}
			return nil
		}}
		if _, err := Copy(t.Context(), Options{From: from, To: to}); err == nil {
			t.Fatal("it did not fail")
		}
		if err := state.Prove(t.Context(), raw); !errors.Is(err, state.ErrUnfit) {
			t.Errorf("a service on half a copy: got %v, want ErrUnfit", err)
		}
	}
	// Something was pruned, something came, and a value was cut.
	const pruned, cut = "state/u/000000000003", "state/u/000000000005"
	ctx := t.Context()
	err := errors.Join(from.Delete(ctx, pruned), raw.Delete(ctx, cut), raw.Create(ctx, cut, []byte("xx")))
	if err != nil {
		t.Fatal(err)
	}
	put(t, from, "state/u/000000000099", "new")
	r, err := Copy(t.Context(), Options{From: from, To: raw})
	if err != nil || r.Values != 21 || r.Copied >= 21 {
		t.Errorf("got %+v, %v; want that it went on", r, err)
	}
	wantCopy(t, from, raw)
}

func TestAnotherStoreIsNotOverwritten(t *testing.T) {
	from := filled(t, 3, "1")
	for name, to := range map[string]state.Store{
		"another store":        filled(t, 3, "2"),
		"the store itself":     from,
		"a copy that is ready": copied(t, from),
		"a copy of another that was begun": func() state.Store {
			s := &memory.Store{}
			put(t, s, state.CopyMark, `{"dataKey":"2"}`)
			return s
		}(),
	} {
		before := content(t, to)
		if _, err := Copy(t.Context(), Options{From: from, To: to}); !errors.Is(err, ErrOccupied) {
			t.Errorf("%s: got %v, want ErrOccupied", name, err)
		}
		if diff := cmp.Diff(before, content(t, to)); diff != "" {
			t.Errorf("%s was changed (-before +after):\n%s", name, diff)
		}
	}
}

func copied(t *testing.T, from state.Store) state.Store {
	t.Helper()
	to := &memory.Store{}
	if _, err := Copy(t.Context(), Options{From: from, To: to}); err != nil {
		t.Fatal(err)
	}
	return to
}

// A source that is written to is followed; one that never rests is given up, and the copy stays unfit.
func TestASourceThatIsInUse(t *testing.T) {
	for writes, want := range map[int]error{3: nil, 1 << 20: ErrChanging} {
		source := filled(t, 3, "1")
		n := 0
		from := &broken{source, func(op, key string) error {
			if op == "get" && strings.HasPrefix(key, "state/") && n < writes {
				n++
				return source.Create(t.Context(), fmt.Sprintf("state/v/%012d", n), []byte("more"))
			}
			return nil
		}}
		to := &memory.Store{}
		if _, err := Copy(t.Context(), Options{From: from, To: to}); !errors.Is(err, want) {
			t.Errorf("%d writes: got %v, want %v", writes, err, want)
		}
		if want == nil {
			wantCopy(t, source, to)
		} else if err := state.Prove(t.Context(), to); !errors.Is(err, state.ErrUnfit) {
			t.Errorf("a service on a copy that was given up: got %v, want ErrUnfit", err)
		}
	}
}

// What the source can't read is damaged in the copy too: without it an older version would be the newest.
func TestDamageIsCopiedAsDamage(t *testing.T) {
	const bad = "state/u/000000000002"
	from := &broken{filled(t, 3, "1"), func(op, key string) error {
		if op == "get" && key == bad {
			return fmt.Errorf("%w: a piece is missing", state.ErrDamaged)
		}
		return nil
	}}
	to := &memory.Store{}
	r, err := Copy(t.Context(), Options{From: from, To: to})
	if err != nil || !slices.Equal(r.Damaged, []string{bad}) {
		t.Errorf("got %+v, %v; want that %s is damaged", r, err, bad)
	}
	service := state.New(state.Options{Store: to})
	if _, err := service.State(t.Context(), "u"); !errors.Is(err, state.ErrDamaged) {
		t.Errorf("the state in the copy: got %v, want ErrDamaged", err)
	}
}

func TestADestinationThatLiesIsFoundOut(t *testing.T) {
	raw := &memory.Store{}
	to := &broken{raw, func(op, key string) error {
		if op == "get" && key == "state/u/000000000002" {
			return errors.Join(raw.Delete(t.Context(), key), raw.Create(t.Context(), key, []byte("y")))
		}
		return nil
	}}
	if _, err := Copy(t.Context(), Options{From: filled(t, 3, "1"), To: to}); !errors.Is(err, ErrDiffers) {
		t.Errorf("got %v, want ErrDiffers", err)
	}
}
