package seal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/store/memory"
	"github.com/plumbline-dev/plumbline/state/store/storetest"
)

// fakeRing keeps the ring in memory.
type fakeRing struct {
	mu   sync.Mutex
	data []byte
	down error
}

func (f *fakeRing) Load(context.Context) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.data == nil && f.down == nil {
		return nil, state.ErrNotFound
	}
	return f.data, f.down
}

func (f *fakeRing) Create(_ context.Context, ring []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.data != nil {
		return state.ErrExists
	}
	f.data = ring
	return nil
}

func (f *fakeRing) Replace(_ context.Context, old, next []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !bytes.Equal(f.data, old) {
		return ErrMoved
	}
	f.data = next
	return nil
}

func options(raw state.Store, ring Ring) Options {
	clk := clocktesting.NewFakeClock(time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC))
	return Options{Store: raw, Ring: ring, Clock: clk, Log: slog.New(slog.DiscardHandler)}
}

func open(t testing.TB, raw state.Store, ring Ring) *Store {
	t.Helper()
	s, err := Open(t.Context(), options(raw, ring))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func create(t testing.TB, s state.Store, key, data string) {
	t.Helper()
	if err := s.Create(t.Context(), key, []byte(data)); err != nil {
		t.Fatal(err)
	}
}

func wantValue(t testing.TB, s state.Store, key, want string) {
	t.Helper()
	if got, err := s.Get(t.Context(), key); err != nil || string(got) != want {
		t.Errorf("%s: got %q, %v; want %q", key, got, err, want)
	}
}

const secret = "hunter2-hunter2"

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) state.Store { return open(t, emptied{&memory.Store{}}, &fakeRing{}) })
}

// emptied hides the keys' own records, for the suite lists everything.
type emptied struct{ state.Store }

func (e emptied) List(ctx context.Context, prefix string) ([]string, error) {
	keys, err := e.Store.List(ctx, prefix)
	if strings.HasPrefix(prefix, dir) {
		return keys, err
	}
	var shown []string
	for _, key := range keys {
		if !strings.HasPrefix(key, dir) {
			shown = append(shown, key)
		}
	}
	return shown, err
}

func TestNothingSecretIsAtRest(t *testing.T) {
	raw, ring := &memory.Store{}, &fakeRing{}
	s := open(t, raw, ring)
	for i, value := range []string{secret, strings.Repeat(secret, 1000), "{}", ""} {
		create(t, s, fmt.Sprint("state/u/", i), value)
	}
	keys, err := raw.List(t.Context(), "")
	if err != nil || len(keys) != 5 {
		t.Fatalf("got keys %q, %v; want four and the data key", keys, err)
	}
	for _, key := range keys {
		data, err := raw.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte(secret)) || string(data) == "{}" || len(data) < len(magic) {
			t.Errorf("%s is readable: %q", key, data)
		}
	}
}

// A journal's mark is empty, and can't be made anew when a key goes.
func TestMarksStayAsTheyAre(t *testing.T) {
	raw := &memory.Store{}
	s := open(t, raw, &fakeRing{})
	s.Bare = Refuse
	create(t, s, "state/u/000000000000", "")
	wantValue(t, raw, "state/u/000000000000", "")
	wantValue(t, s, "state/u/000000000000", "")
}

func TestWhatWasTamperedWithIsAnError(t *testing.T) {
	raw, ring := &memory.Store{}, &fakeRing{}
	s := open(t, raw, ring)
	create(t, s, "state/u/1", secret)
	create(t, s, "state/u/2", "other")
	one, _ := raw.Get(t.Context(), "state/u/1")
	for i := range one {
		for what, data := range map[string][]byte{
			"cut": one[:i], "changed": append(append(bytes.Clone(one[:i]), one[i]^1), one[i+1:]...),
		} {
			key := fmt.Sprintf("%s/%d", what, i)
			create(t, raw, key, string(data))
			s.Bare = Refuse
			if got, err := s.Get(t.Context(), key); err == nil || errors.Is(err, state.ErrNotFound) {
				t.Errorf("%s at byte %d: got %q, %v; want an error that is not ErrNotFound", what, i, got, err)
			}
		}
	}
	create(t, raw, "state/u/3", string(one))
	if got, err := s.Get(t.Context(), "state/u/3"); !errors.Is(err, ErrDamaged) {
		t.Errorf("under another name: got %q, %v; want ErrDamaged", got, err)
	}
	create(t, raw, "state/u/4", "")
	if got, err := s.Get(t.Context(), "state/u/4"); !errors.Is(err, ErrUnsealed) {
		t.Errorf("forged: got %q, %v; want ErrUnsealed", got, err)
	}
	if err := s.Create(t.Context(), "seal/key/x", nil); !errors.Is(err, state.ErrKey) {
		t.Errorf("writing where keys are: got %v, want ErrKey", err)
	}
}

func TestStart(t *testing.T) {
	down := errors.New("the API server is down")
	for _, test := range []struct {
		name string
		harm func(t *testing.T, raw *memory.Store, ring *fakeRing)
		want error
	}{
		{"all is well", func(*testing.T, *memory.Store, *fakeRing) {}, nil},
		{"the ring is missing", func(_ *testing.T, _ *memory.Store, ring *fakeRing) { ring.data = nil }, ErrNoRing},
		{"the ring can't be read", func(_ *testing.T, _ *memory.Store, ring *fakeRing) { ring.down = down }, down},
		{"another ring", func(t *testing.T, _ *memory.Store, ring *fakeRing) {
			other := &fakeRing{}
			open(t, &memory.Store{}, other)
			ring.data = other.data
		}, ErrWrongRing},
		{"the data keys are gone", func(t *testing.T, raw *memory.Store, _ *fakeRing) {
			keys, _ := raw.List(t.Context(), KeysDir)
			for _, key := range keys {
				_ = raw.Delete(t.Context(), key)
			}
		}, ErrWrongRing},
		{"ring and data keys are gone", func(t *testing.T, raw *memory.Store, ring *fakeRing) {
			ring.data = nil
			keys, _ := raw.List(t.Context(), KeysDir)
			for _, key := range keys {
				_ = raw.Delete(t.Context(), key)
			}
		}, ErrWrongRing},
	} {
		t.Run(test.name, func(t *testing.T) {
			raw, ring := &memory.Store{}, &fakeRing{}
			create(t, open(t, raw, ring), "state/u/1", secret)
			test.harm(t, raw, ring)
			before := bytes.Clone(ring.data)
			s, err := Open(t.Context(), options(raw, ring))
			if !errors.Is(err, test.want) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			if !bytes.Equal(before, ring.data) {
				t.Error("the ring was changed")
			}
			if test.want == nil {
				wantValue(t, s, "state/u/1", secret)
			}
		})
	}
}

func TestReplicasBeginAtOnce(t *testing.T) {
	raw, ring := &memory.Store{}, &fakeRing{}
	var wg sync.WaitGroup
	stores := make([]*Store, 8)
	for i := range stores {
		wg.Go(func() {
			var err error
			if stores[i], err = Open(t.Context(), options(raw, ring)); err != nil {
				t.Errorf("replica %d: %v", i, err)
				return
			}
			create(t, stores[i], fmt.Sprint("state/", i), secret)
		})
	}
	wg.Wait()
	for i := range stores {
		for _, s := range stores {
			wantValue(t, s, fmt.Sprint("state/", i), secret)
		}
	}
}

// A whole rotation, while a replica that knows nothing of it goes on.
func TestRotation(t *testing.T) {
	raw, ring := &memory.Store{}, &fakeRing{}
	admin, other := open(t, raw, ring), open(t, raw, ring)
	create(t, other, "a", "before")
	firstRing := bytes.Clone(ring.data)
	before, _ := admin.Status(t.Context())
	after, err := admin.Rotate(t.Context())
	if counts := []int{len(after.RingKeys), len(after.DataKeys)}; err != nil || !slices.Equal(counts, []int{2, 2}) {
		t.Fatalf("rotating: got %+v, %v", after, err)
	}
	create(t, admin, "b", "by the new key")
	wantValue(t, other, "b", "by the new key") // asks at once
	create(t, other, "c", "after")
	if _, err := admin.Prune(t.Context()); !errors.Is(err, ErrInUse) {
		t.Errorf("pruning before resealing: got %v, want ErrInUse", err)
	}
	for i, want := range []int{1, 0} {
		if n, err := admin.Reseal(t.Context()); n != want || err != nil {
			t.Errorf("resealing for the %d. time: got %d, %v; want %d data keys", i+1, n, err, want)
		}
	}
	gone, err := admin.Prune(t.Context())
	if err != nil || !slices.Equal(gone, before.RingKeys) {
		t.Errorf("pruning: got %v, %v; want %d", gone, err, before.Primary)
	}
	for _, s := range []*Store{admin, other, open(t, raw, ring)} {
		wantValue(t, s, "a", "before")
		wantValue(t, s, "b", "by the new key")
		wantValue(t, s, "c", "after")
	}
	if _, err := Open(t.Context(), options(raw, &fakeRing{data: firstRing})); !errors.Is(err, ErrWrongRing) {
		t.Errorf("with the old ring: got %v, want ErrWrongRing", err)
	}
}

// Two replicas write and read each other's values without a pause, while keys are rotated, resealed and pruned.
func TestRotationUnderLoad(t *testing.T) {
	raw, ring := &memory.Store{}, &fakeRing{}
	replicas := []*Store{open(t, raw, ring), open(t, raw, ring)}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var written [2]int
	for i, s := range replicas {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil && n < 2000; n++ {
				key := fmt.Sprintf("state/%d/%d", i, n)
				create(t, s, key, key)
				wantValue(t, replicas[1-i], key, key)
				written[i]++
			}
		})
	}
	for range 20 {
		admin := open(t, raw, ring)
		if _, err := admin.Rotate(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := admin.Reseal(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := admin.Prune(t.Context()); err != nil {
			t.Error(err)
		}
		if err := replicas[0].refresh(t.Context()); err != nil {
			t.Error(err)
		}
	}
	stop()
	wg.Wait()
	fresh := open(t, raw, ring)
	for i, n := range written {
		for n := range n {
			key := fmt.Sprintf("state/%d/%d", i, n)
			wantValue(t, fresh, key, key)
		}
	}
	t.Logf("%v values were written and read under 20 rotations", written)
}

func TestValuesFromBeforeAreRead(t *testing.T) {
	raw := &memory.Store{}
	create(t, raw, "state/u/1", `{"serial":1}`)
	s := open(t, raw, &fakeRing{})
	wantValue(t, s, "state/u/1", `{"serial":1}`)
	if ok, err := s.Sealed(t.Context(), "state/u/1"); ok || err != nil {
		t.Errorf("got %v, %v; want that it is not sealed", ok, err)
	}
	create(t, s, "state/u/2", `{"serial":2}`)
	if ok, err := s.Sealed(t.Context(), "state/u/2"); !ok || err != nil {
		t.Errorf("got %v, %v; want that it is sealed", ok, err)
	}
	s.Bare = Refuse
	if _, err := s.Get(t.Context(), "state/u/1"); !errors.Is(err, ErrUnsealed) {
		t.Errorf("got %v, want ErrUnsealed", err)
	}
}

// Whatever stands in the store, opening it gives an error or what was once sealed under that very name.
func FuzzOpen(f *testing.F) {
	raw := &memory.Store{}
	s, err := Open(context.Background(), options(raw, &fakeRing{}))
	if err != nil {
		f.Fatal(err)
	}
	s.Bare = Refuse
	for _, value := range []string{"", secret, strings.Repeat(secret, 200)} {
		sealed, err := s.seal("a", []byte(value))
		if err != nil {
			f.Fatal(err)
		}
		f.Add("a", sealed)
		f.Add("b", sealed)
		f.Add("a", sealed[:len(sealed)/2])
	}
	f.Add("a", []byte(magic))
	f.Add("a", []byte(family+"\x02and more"))
	f.Fuzz(func(t *testing.T, key string, data []byte) {
		got, err := s.open(context.Background(), key, data)
		if err == nil && len(data) > 0 && (key != "a" || (len(got) > 0 && !bytes.Contains(got, []byte(secret)))) {
			t.Errorf("%q under %q was opened as %q", data, key, got)
		}
	})
}

// TestAStoreThatWasBornSealedHoldsNothingBare: where nothing is from before, a bare value is forged, whatever the flag
// says, and after a rotation and a restart too.
func TestAStoreThatWasBornSealedHoldsNothingBare(t *testing.T) {
	for name, test := range map[string]struct {
		before map[string]string
		want   error
	}{
		"an empty store":                {nil, ErrUnsealed},
		"what a probe has left":         {map[string]string{state.ProbeDir + "x": "first"}, ErrUnsealed},
		"an ID":                         {map[string]string{state.StoreIDKey: "b7kq2mzt5xw3n4ra"}, ErrUnsealed},
		"a store from before":           {map[string]string{"state/u/1": "bare"}, nil},
		"a store from before, a mark":   {map[string]string{"state/u" + markSuffix: ""}, nil},
		"a store from before, an empty": {map[string]string{"outputs/u/1": ""}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			raw, ring := &memory.Store{}, &fakeRing{}
			for key, value := range test.before {
				create(t, raw, key, value)
			}
			s := open(t, raw, ring)
			create(t, s, "state/u/7", "sealed")
			create(t, raw, "state/u/8", "forged")
			if _, err := s.Rotate(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, s := range []*Store{s, open(t, raw, ring)} {
				wantValue(t, s, "state/u/7", "sealed")
				if _, err := s.Get(t.Context(), "state/u/8"); !errors.Is(err, test.want) {
					t.Errorf("a bare value: got %v, want %v", err, test.want)
				}
			}
		})
	}
}
