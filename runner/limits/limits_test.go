package limits

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestNoteAndMessage(t *testing.T) {
	for _, test := range []struct {
		name, text, want string
	}{
		{"what fits stays", strings.Repeat("a", 1024), strings.Repeat("a", 1024)},
		{"what doesn't is cut", strings.Repeat("a", 1025), strings.Repeat("a", 1020) + " ..."},
		{"between two characters", "a" + strings.Repeat("ñ", 600), "a" + strings.Repeat("ñ", 509) + " ..."},
		{"what is no text becomes some", "a\xffb", "a\uFFFDb"},
		{"a percent sign is one", "100%", "100%"},
	} {
		if got := Note("%s", test.text); got != test.want || len(got) > 1024 || !utf8.ValidString(got) {
			t.Errorf("%s: got %d bytes: %q", test.name, len(got), got)
		}
	}
	if got := Message(strings.Repeat("ñ", 40000)); len(got) > 32768 || len(got) < 32760 || !utf8.ValidString(got) {
		t.Errorf("a message has %d bytes", len(got))
	}
}
