package postgres

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestBoundsHoldThePrefix(t *testing.T) {
	for prefix, want := range map[string][2]string{
		"":             {"", ""},
		"a/":           {"a/", "a0"},
		"a%":           {"a%25", "a%26"},
		"é":            {"é", "ê"},
		"a\ud7ff":      {"a\ud7ff", "a\ue000"},
		"a\U0010ffff":  {"a\U0010ffff", "b"},
		"\U0010ffff":   {"\U0010ffff", ""},
		"ключ"[:3]:     {"к", "л"},
		"a/\x00":       {"a/%00", "a/%01"},
		"a/\x7f":       {"a/\x7f", "a/\u0080"},
		"a\U0010fffe/": {"a\U0010fffe/", "a\U0010fffe0"},
	} {
		from, to := bounds(prefix)
		if [2]string{from, to} != want {
			t.Errorf("bounds(%q) = %q, %q; want %q", prefix, from, to, want)
		}
	}
}

func TestEscapeComesBack(t *testing.T) {
	for _, key := range []string{"a", "%", "%00", "\x00", "a%25\x00%", "%\x0025"} {
		escaped := escape(key)
		if strings.Contains(escaped, "\x00") || unescape(escaped) != key {
			t.Errorf("%q becomes %q and then %q", key, escaped, unescape(escaped))
		}
	}
}

func TestWorthwhile(t *testing.T) {
	said := func(code string) error { return fmt.Errorf("inserting: %w", &pgconn.PgError{Code: code}) }
	for _, test := range []struct {
		name         string
		err          error
		undone, ever bool
	}{
		{"a wrong password", said("28P01"), true, true},
		{"a dropped user's connection", said("42501"), true, true},
		{"a server that shuts down", said("57P01"), true, true},
		{"a former primary", said("25006"), true, true},
		{"no such table", said("42P01"), false, false},
		{"a full disk", said("53100"), false, false},
		{"a statement's own timeout", said("57014"), false, false},
		{"an answer that was lost", io.ErrUnexpectedEOF, false, true},
		{"a file that is being replaced", fs.ErrNotExist, true, true},
		{"anything else", errors.New("broken"), false, false},
	} {
		if got := worthwhile(test.err, whenUndone); got != test.undone {
			t.Errorf("%s: repeated when undone: %v", test.name, got)
		}
		if got := worthwhile(test.err, always); got != test.ever {
			t.Errorf("%s: repeated always: %v", test.name, got)
		}
	}
}
