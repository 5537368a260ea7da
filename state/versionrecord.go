package state

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
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
	// CopyOf is the version that this one repeats: to seal it, or (before fences were small) because the lock was taken
	// from somebody.
	CopyOf uint64 `json:"copyOf,omitempty"`
	// Replaces are the versions that could not be read and that this one goes on behind; they are kept.
	Replaces []uint64 `json:"replaces,omitempty"`
	// Damaged is why a version can't be read; nothing else but its number is known then.
	Damaged string `json:"damaged,omitempty"`
	// AdoptedFrom is the UID that the state was taken over from.
	AdoptedFrom string `json:"adoptedFrom,omitempty"`
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

	// fence tells that the record is one, and has no state of its own: that of the Version counts. See ADR 21.
	fence bool
}

// A record is versionMagic, the head's length, the head, the state. One from before there were heads is the state
// alone, and JSON never begins like versionMagic.
//
// A fence has fenceLength in place of the length, and nothing behind its head. A release that doesn't know fences finds
// a head that is longer than its record: for that it answers "try again", and never takes the fence for a state.
const (
	versionMagic = "\x00plumbline-state\x01"
	lengthBytes  = 4
	fenceLength  = math.MaxUint32
)

var errHead = fmt.Errorf("%w: a version's head can't be read", ErrDamaged)

func encodeVersion(head versionHead, state []byte) ([]byte, error) {
	h, err := head.encode()
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, len(versionMagic)+lengthBytes+len(h)+len(state))
	b = append(b, versionMagic...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(h))) //nolint:gosec // a head is some KiB
	b = append(b, h...)
	return append(b, state...), nil
}

// encodeFence makes the record that takes the place after the newest one, and leaves everything as the head says.
func encodeFence(head versionHead) ([]byte, error) {
	h, err := head.encode()
	if err != nil {
		return nil, err
	}
	return append(binary.BigEndian.AppendUint32([]byte(versionMagic), fenceLength), h...), nil
}

func (h versionHead) encode() ([]byte, error) {
	h.Nonce = rand.Text()
	b, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("encoding a version: %w", err)
	}
	return b, nil
}

func decodeFence(data []byte) (versionHead, []byte, error) {
	head := versionHead{fence: true}
	if err := json.Unmarshal(data, &head); err != nil {
		return versionHead{}, nil, fmt.Errorf("%w: %w", errHead, err)
	}
	if head.Damaged != "" {
		return head, nil, fmt.Errorf("%w: version %d: %s", errBehindFence, head.Number, head.Damaged)
	}
	return head, nil, nil
}

// errBehindFence tells that a fence is fine, and that what it stands for isn't.
var errBehindFence = fmt.Errorf("%w: the state that a fence stands for", ErrDamaged)

// decodeVersion reads a record; the one before the first has neither number nor state, and a fence has no state.
func decodeVersion(r record) (versionHead, []byte, error) {
	if r.damaged != nil {
		return versionHead{}, nil, r.damaged
	}
	rest, ok := strings.CutPrefix(string(r.data[:min(len(r.data), len(versionMagic)+lengthBytes)]), versionMagic)
	if !ok {
		return decodeBare(r)
	}
	data := r.data[min(len(r.data), len(versionMagic)+lengthBytes):]
	if len(rest) == lengthBytes && binary.BigEndian.Uint32([]byte(rest)) == fenceLength {
		return decodeFence(data)
	}
	if len(rest) != lengthBytes || uint64(binary.BigEndian.Uint32([]byte(rest))) > uint64(len(data)) {
		return versionHead{}, nil, errHead
	}
	n := binary.BigEndian.Uint32([]byte(rest))
	var head versionHead
	if err := json.Unmarshal(data[:n], &head); err != nil {
		return versionHead{}, nil, fmt.Errorf("%w: %w", errHead, err)
	}
	head.Number = r.n // a copy that was sealed anew says otherwise
	if state := data[n:]; len(state) != head.Size {
		return versionHead{}, nil, fmt.Errorf("%w: version %d has %d bytes and should have %d",
			ErrDamaged, r.n, len(state), head.Size)
	}
	return head, data[n:], nil
}

// decodeBare reads a record from before there were heads.
func decodeBare(r record) (versionHead, []byte, error) {
	if len(r.data) == 0 {
		return versionHead{Version: Version{Number: r.n, Digest: digest(nil)}}, nil, nil
	}
	v, err := describe(r.data)
	if err != nil {
		return versionHead{}, nil, fmt.Errorf("%w: version %d is no state", ErrDamaged, r.n)
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

// followedBy is the head of the next version. It describes as many contents as may be kept.
func (h versionHead) followedBy(v Version, keep int) versionHead {
	next := versionHead{Version: v}
	if h.Number > 0 {
		next.Past = append([]Version{h.Version}, h.Past...)
	}
	contents := map[uint64]bool{}
	for i, past := range next.Past {
		if contents[past.content()] = true; len(contents) > keep+pruneEvery {
			next.Past = next.Past[:i]
			break
		}
	}
	return next
}

// content tells versions apart that differ in what they hold.
func (v Version) content() uint64 { return cmp.Or(v.CopyOf, v.Number) }

// copied is the version that repeats this one.
func (h versionHead) copied() Version {
	v := h.Version
	v.CopyOf = v.content()
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

// kept says what stays of a state's journal.
type kept struct {
	// versions is how many contents stay at most, and since is from when on those before the newest are written.
	versions int
	since    time.Time
}

// keptFrom returns from which record on a journal with these numbers is kept. Contents count, not records: a fence
// holds none, and what is repeated counts once. The newest content stays in any case, and so do the newest records.
func (h versionHead) keptFrom(numbers []uint64, k kept) uint64 {
	d := h.describing(nil)
	contents := map[uint64]bool{}
	from := h.Number
	for _, n := range slices.Backward(numbers) {
		v, ok := d.known[n]
		if !ok && n > d.lowest {
			continue // a fence, or damaged
		}
		v.Number = n // of one from before versions were described nothing else is known
		if contents[v.content()] {
			continue
		}
		contents[v.content()] = true
		if len(contents) > k.versions || len(contents) > keepLeast && v.At.Before(k.since) {
			break
		}
		from = min(from, n)
	}
	if len(numbers) >= keepLeast {
		from = min(from, numbers[len(numbers)-keepLeast])
	}
	return from
}

// known are the versions that the head describes.
func (h versionHead) known() map[uint64]Version {
	known := map[uint64]Version{}
	for _, v := range append(h.Past, h.Version) {
		if v.Number > 0 {
			known[v.Number] = v
		}
	}
	return known
}
