package state

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Version describes one state that was written.
type Version struct {
	Number uint64 `json:"number"`
	// At and Run are missing of a version from before they were kept.
	At      time.Time `json:"at,omitzero"`
	Run     string    `json:"run,omitempty"`
	Serial  uint64    `json:"serial"`
	Lineage string    `json:"lineage"`
	Size    int       `json:"size"` // of the state in bytes; 0 is a removal
	Digest  string    `json:"digest"`
	// A rollback is by a person, and has the content of another version.
	Person     string `json:"person,omitempty"`
	Why        string `json:"why,omitempty"`
	RollbackOf uint64 `json:"rollbackOf,omitempty"`
	// CopyOf is the version that this one repeats, because the lock was taken from somebody, or to seal it.
	CopyOf uint64 `json:"copyOf,omitempty"`
}

// Actor is a person who interferes, or the controller on its own.
type Actor struct {
	Name string
	Why  string
}

// versionHead goes before the state in a record of its journal. It describes the versions before it too: a list costs
// one read, and there is no second record that could be missing or wrong.
type versionHead struct {
	Version
	// Nonce makes the record unlike any other, which journals rely on.
	Nonce string `json:"nonce"`
	// Past are the versions that were kept when this one was written, the newest first.
	Past []Version `json:"past,omitempty"`
}

// A record is versionMagic, the head's length, the head, the state. One from before there were heads is the state
// alone, and JSON never begins like versionMagic.
const (
	versionMagic = "\x00plumbline-state\x01"
	lengthBytes  = 4
)

var errHead = errors.New("a version's head is damaged")

func encodeVersion(head versionHead, state []byte) ([]byte, error) {
	head.Nonce = rand.Text()
	h, err := json.Marshal(head)
	if err != nil {
		return nil, fmt.Errorf("encoding a version: %w", err)
	}
	b := make([]byte, 0, len(versionMagic)+lengthBytes+len(h)+len(state))
	b = append(b, versionMagic...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(h))) //nolint:gosec // a head is some KiB
	b = append(b, h...)
	return append(b, state...), nil
}

// decodeVersion reads a record; the one before the first has neither number nor state.
func decodeVersion(r record) (versionHead, []byte, error) {
	rest, ok := strings.CutPrefix(string(r.data[:min(len(r.data), len(versionMagic)+lengthBytes)]), versionMagic)
	if !ok {
		return decodeBare(r)
	}
	data := r.data[min(len(r.data), len(versionMagic)+lengthBytes):]
	if len(rest) != lengthBytes || uint64(binary.BigEndian.Uint32([]byte(rest))) > uint64(len(data)) {
		return versionHead{}, nil, errHead
	}
	n := binary.BigEndian.Uint32([]byte(rest))
	var head versionHead
	if err := json.Unmarshal(data[:n], &head); err != nil {
		return versionHead{}, nil, fmt.Errorf("%w: %w", errHead, err)
	}
	head.Number = r.n // a copy that was sealed anew says otherwise
	return head, data[n:], nil
}

// decodeBare reads a record from before there were heads.
func decodeBare(r record) (versionHead, []byte, error) {
	if len(r.data) == 0 {
		return versionHead{Version: Version{Number: r.n, Digest: digest(nil)}}, nil, nil
	}
	v, err := describe(r.data)
	if err != nil {
		return versionHead{}, nil, fmt.Errorf("a stored state: %w", err)
	}
	v.Number = r.n
	return versionHead{Version: v}, r.data, nil
}

// describe reads what a state says of itself.
func describe(state []byte) (Version, error) {
	var told struct {
		Lineage string `json:"lineage"`
		Serial  uint64 `json:"serial"`
	}
	if err := json.Unmarshal(state, &told); err != nil {
		// The error may quote the state, which is secret.
		return Version{}, fmt.Errorf("%w: a state is a JSON object with a lineage and a serial", ErrInvalid)
	}
	return Version{Serial: told.Serial, Lineage: told.Lineage, Size: len(state), Digest: digest(state)}, nil
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// followedBy is the head of the next version, of which keep stay in all.
func (h versionHead) followedBy(v Version, keep int) versionHead {
	next := versionHead{Version: v}
	if h.Number > 0 {
		next.Past = append([]Version{h.Version}, h.Past...)
	}
	next.Past = next.Past[:min(len(next.Past), keep+pruneEvery)]
	return next
}

// copied is the version that repeats this one.
func (h versionHead) copied() Version {
	v := h.Version
	v.CopyOf = cmp.Or(v.CopyOf, h.Number)
	v.Digest = cmp.Or(v.Digest, digest(nil)) // before the first
	return v
}

func (h versionHead) highestSerial() uint64 {
	highest := h.Serial
	for _, v := range h.Past {
		highest = max(highest, v.Serial)
	}
	return highest
}

// keptSince counts the versions that were written since then, the newest among them in any case.
func (h versionHead) keptSince(then time.Time) int {
	n := 1
	for _, v := range h.Past {
		if v.At.Before(then) {
			break
		}
		n++
	}
	return n
}
