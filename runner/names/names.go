// Package names makes object names that always fit: one that would grow over 63 characters (the limit of a label's
// value and of a Pod's host name) is cut and hashed, never refused. The same parts always give the same name.
package names

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Max is the longest name or label value that is made here, but for names of objects that are in no label and in no
// host name: MaxObject.
const (
	Max       = 63
	MaxObject = 253
)

const hashLength = 8

// Join is base-suffix, or base cut, a hash of the whole, and suffix. A suffix that leaves no room is cut too.
func Join(base, suffix string) string { return join(base, suffix, Max) }

// JoinObject is Join for a name that may be as long as an object's.
func JoinObject(base, suffix string) string { return join(base, suffix, MaxObject) }

func join(base, suffix string, limit int) string {
	full := base + "-" + suffix
	if len(full) <= limit {
		return full
	}
	room := limit - len(suffix) - hashLength - 2
	if room < 1 {
		return Label(full)
	}
	return trim(base, room) + "-" + Hash(full) + "-" + suffix
}

// Label is s where it fits into a label's value, and s cut and hashed otherwise.
func Label(s string) string {
	if len(s) <= Max {
		return s
	}
	return trim(s, Max-hashLength-1) + "-" + Hash(s)
}

// Hash is a short digest of the parts; no part runs into the next.
func Hash(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:])[:hashLength]
}

// trim cuts to n bytes and leaves no separator at the end, where names may not have one before a dash.
func trim(s string, n int) string {
	return strings.TrimRight(s[:min(n, len(s))], "-.")
}
