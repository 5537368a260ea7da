package job

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestChunkGoesThereAndBack(t *testing.T) {
	for _, want := range []Chunk{
		{Offset: 0, Text: []byte{}}, {Offset: 12, Text: []byte("a\nb")},
		{Offset: 1 << 50, Text: bytes.Repeat([]byte("xy\n"), MaxChunk/3)},
	} {
		packed, err := want.Pack()
		if err != nil {
			t.Fatal(err)
		}
		got, err := UnpackChunk(packed)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
}

func TestWhatIsNoChunk(t *testing.T) {
	pack := func(c Chunk) []byte {
		b, err := c.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	good := pack(Chunk{Text: []byte("hello")})
	for name, b := range map[string][]byte{
		"nothing": nil, "text": []byte("hello"), "cut off": good[:len(good)-1],
		"negative": pack(Chunk{Offset: -1}), "too large": pack(Chunk{Text: make([]byte, MaxChunk+1)}),
	} {
		if c, err := UnpackChunk(b); !errors.Is(err, ErrChunk) {
			t.Errorf("%s: got %v, %v; want ErrChunk", name, c, err)
		}
	}
}

// FuzzUnpackChunk: whatever a Pod sends is a chunk that packs again to the same, or refused.
func FuzzUnpackChunk(f *testing.F) {
	packed, err := Chunk{Offset: 7, Text: []byte("a line\n")}.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := UnpackChunk(b)
		if err != nil {
			if !errors.Is(err, ErrChunk) {
				t.Errorf("got %v, want ErrChunk", err)
			}
			return
		}
		again, err := c.Pack()
		if err != nil || len(again) > MaxPackedChunk {
			t.Fatalf("%d bytes, %v", len(again), err)
		}
		if back, err := UnpackChunk(again); err != nil || back.Offset != c.Offset || !bytes.Equal(back.Text, c.Text) {
			t.Errorf("got %v, %v; want %v", back, err, c)
		}
	})
}
