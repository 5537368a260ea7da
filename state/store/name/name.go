// Package name writes any key as a path that every object store and file system can keep, and back.
//
//	state/u-1/000000000012  ->  state/u-1/000000000012.v
//	a_b//c.tf               ->  a!5Fb/!/c!2Etf.v
//
// Only letters, digits and "-" stand for themselves; "!XX" is a byte, a lone "!" is an empty folder, a "!" at the end
// of a folder says that its name goes on in the next one (a file system's names have 255 bytes). Only a value's name
// has a ".", so "a" and "a/b" never are in each other's way. What begins with a prefix begins with Prefix of it.
package name

import (
	"encoding/hex"
	"strings"
)

const (
	leaf     = ".v"
	maxPiece = 200
)

// Encode returns the path of a key.
func Encode(key string) string {
	path := Prefix(key)
	if path == "" || strings.HasSuffix(path, "/") {
		path += "!"
	}
	return path + leaf
}

// Prefix returns what the path of every key with this prefix begins with.
func Prefix(prefix string) string {
	parts := strings.Split(prefix, "/")
	for i, part := range parts {
		parts[i] = escape(part)
		if part == "" && i < len(parts)-1 {
			parts[i] = "!"
		}
	}
	return strings.Join(parts, "/")
}

// Decode returns the key of a path, and false for a path that Encode has not made.
func Decode(path string) (string, bool) {
	trimmed, ok := strings.CutSuffix(path, leaf)
	if !ok {
		return "", false
	}
	var key strings.Builder
	parts := strings.Split(trimmed, "/")
	for i, part := range parts {
		if i > 0 && !goesOn(parts[i-1]) {
			key.WriteByte('/')
		}
		unescaped, ok := unescape(strings.TrimSuffix(part, "!"))
		if !ok {
			return "", false
		}
		key.WriteString(unescaped)
	}
	return key.String(), Encode(key.String()) == path
}

func goesOn(part string) bool { return len(part) > 1 && strings.HasSuffix(part, "!") }

func escape(part string) string {
	var b strings.Builder
	size := 0
	for i := range len(part) {
		next := escapeByte(part[i])
		if size+len(next) > maxPiece {
			b.WriteString("!/")
			size = 0
		}
		b.WriteString(next)
		size += len(next)
	}
	return b.String()
}

func escapeByte(c byte) string {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-':
		return string(rune(c))
	}
	return "!" + strings.ToUpper(hex.EncodeToString([]byte{c}))
}

func unescape(part string) (string, bool) {
	var b strings.Builder
	for {
		plain, rest, found := strings.Cut(part, "!")
		b.WriteString(plain)
		if !found {
			return b.String(), true
		}
		if len(rest) < 2 {
			return "", false
		}
		c, err := hex.DecodeString(rest[:2])
		if err != nil {
			return "", false
		}
		b.Write(c)
		part = rest[2:]
	}
}
