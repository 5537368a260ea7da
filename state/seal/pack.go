package seal

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
)

// What is sealed can't be compressed by the store any more, so it is compressed before. The first byte tells how.
const (
	asItIs = 0
	zipped = 1
	// minZip is the size from which compressing is worth the while: locks are smaller, states bigger.
	minZip = 1 << 10
)

func pack(data []byte) ([]byte, error) {
	if len(data) < minZip {
		return append([]byte{asItIs}, data...), nil
	}
	var b bytes.Buffer
	b.WriteByte(zipped)
	w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		return nil, fmt.Errorf("packing: %w", err)
	}
	if _, err := w.Write(data); err != nil {
		return nil, fmt.Errorf("packing: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("packing: %w", err)
	}
	return b.Bytes(), nil
}

// unpack gets what was packed by the holder of a key, so its size needs no limit.
func unpack(packed []byte) ([]byte, error) {
	if len(packed) == 0 || packed[0] > zipped {
		return nil, fmt.Errorf("unpacking: %w", ErrDamaged)
	}
	if packed[0] == asItIs {
		return packed[1:], nil
	}
	r, err := gzip.NewReader(bytes.NewReader(packed[1:]))
	if err != nil {
		return nil, fmt.Errorf("unpacking: %w: %w", ErrDamaged, err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("unpacking: %w: %w", ErrDamaged, err)
	}
	return data, nil
}
