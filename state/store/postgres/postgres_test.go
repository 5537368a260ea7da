package postgres

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"reflect"
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

// Of several servers only the one that takes writes is spoken to: a standby may be behind.
func TestStandbysAreNotSpokenTo(t *testing.T) {
	rw := reflect.ValueOf(pgconn.ValidateConnectFunc(pgconn.ValidateConnectTargetSessionAttrsReadWrite)).Pointer()
	primary := reflect.ValueOf(pgconn.ValidateConnectFunc(pgconn.ValidateConnectTargetSessionAttrsPrimary)).Pointer()
	for _, test := range []struct {
		address, env string
		want         uintptr // of what a connection is checked by
		says         string
	}{
		{"postgres://a,b/d", "", rw, ""},
		{"postgres://a/d", "", rw, ""},
		{"postgres://a,b/d", "primary", primary, ""},
		{"postgres://a,b/d?target_session_attrs=primary", "any", primary, ""},
		{"postgres://a/d?target_session_attrs=any", "", 0, ""},
		{"postgres://a,b/d?target_session_attrs=any", "", 0, "target_session_attrs=any: a standby"},
		{"postgres://a/d?target_session_attrs=prefer-standby", "", 0, "target_session_attrs=prefer-standby"},
		{"postgres://a/d", "standby", 0, "target_session_attrs=standby"},
		{"postgres://a/d?target_session_attrs=nonsense", "", 0, "target_session_attrs=nonsense"},
	} {
		t.Run(test.address+" "+test.env, func(t *testing.T) {
			t.Setenv("PGTARGETSESSIONATTRS", test.env)
			s, err := parse(test.address)
			if test.says != "" {
				if err == nil || !strings.Contains(err.Error(), test.says) {
					t.Errorf("got %v, want an error that says %q", err, test.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got uintptr
			if check := s.pool.ConnConfig.ValidateConnect; check != nil {
				got = reflect.ValueOf(check).Pointer()
			}
			if got != test.want {
				t.Errorf("connections are checked by %x, want %x", got, test.want)
			}
		})
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
