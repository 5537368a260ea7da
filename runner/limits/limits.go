// Package limits keeps what people are told within what the API server takes: it would refuse the whole event, or the
// whole status, for one word too many.
package limits

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	// note is how many bytes an event's text may have.
	note = 1024
	// message is how many characters a condition's message may have.
	message = 32768
	// ellipsis ends what was cut.
	ellipsis = " ..."
)

// Note is the text of an event.
func Note(format string, args ...any) string { return cut(fmt.Sprintf(format, args...), note) }

// Message is the message of a condition.
func Message(s string) string { return cut(s, message) }

// cut shortens s to n bytes at most, between two characters.
func cut(s string, n int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= n {
		return s
	}
	n -= len(ellipsis)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + ellipsis
}
