package vault

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/openbao/openbao/api/v2"
)

// Reason says why a call failed for good.
type Reason int

// The reasons.
const (
	// Unavailable: the server could not be asked in time.
	Unavailable Reason = iota
	// Denied: the server refuses, and would again.
	Denied
)

// Error is a call that failed, in one line, with nothing secret in it.
type Error struct {
	Reason Reason
	// Status of the last answer; 0 when there was none.
	Status  int
	Message string
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

// IsDenied tells whether the server refused.
func IsDenied(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Reason == Denied
}

func (c Config) unavailable(f *failure) *Error {
	return &Error{Reason: Unavailable, Status: f.status, Message: fmt.Sprintf("Vault at %s: %v", c.Address, f)}
}

func (c Config) denied(doing, why string) *Error {
	return &Error{Reason: Denied, Message: c.as(doing) + ": " + why}
}

func (c Config) as(doing string) string { return fmt.Sprintf("%s as role %q", doing, c.Role) }

// failure is why one try failed. Its text is one line without secrets.
type failure struct {
	status int
	text   string
	// passes tells that the same call may succeed later.
	passes bool
	// bare tells that the server gave no text.
	bare bool
}

func (f *failure) Error() string {
	if f.status == 0 {
		return f.text
	}
	return fmt.Sprintf("%s (%d)", f.text, f.status)
}

// bareRefusal tells whether a server refuses without saying why.
func (f *failure) bareRefusal() bool {
	return f.status == http.StatusForbidden && f.text == "permission denied"
}

// says tells whether one of the words is in the text; they are in lower case.
func (f *failure) says(words []string) bool {
	text := strings.ToLower(f.text)
	return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(text, word) })
}

// IsGone tells whether the server says that the lease, or the accessor, that a call was about is not there any more.
// Whether the client's own token is there is told by Valid.
func IsGone(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Reason == Denied && (&failure{text: e.Message}).says(goneWords)
}

// Valid asks whether the server knows the client's token. A call with one that is gone is refused like one that the
// policy forbids: Vault adds some words in some places, OpenBao none.
func (c *Client) Valid(ctx context.Context) (bool, error) {
	// The first is what the policy "default" allows, and the second what no policy can forbid.
	for _, path := range []string{"auth/token/lookup-self", "sys/internal/ui/mounts"} {
		_, err := c.Read(ctx, path, nil)
		if err == nil {
			return true, nil
		}
		if e, ok := errors.AsType[*Error](err); !ok || e.Reason != Denied || e.Status != http.StatusForbidden {
			return false, err
		}
	}
	return false, nil
}

// digest reads an error of the client library. Secrets are taken out of what it says.
func digest(err error, secrets ...string) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	f := &failure{}
	var answered *api.ResponseError
	var certificate *tls.CertificateVerificationError
	var request *url.Error
	switch {
	case errors.As(err, &answered):
		f.status, f.text = answered.StatusCode, oneLine(strings.Join(answered.Errors, "; "))
		if f.bare = f.text == ""; f.bare {
			f.text = strings.ToLower(http.StatusText(f.status))
		}
		f.passes = passing(f.status) || f.says(passingWords)
	case errors.As(err, &certificate):
		f.text = "its certificate is not trusted: " + oneLine(certificate.Err.Error())
	case errors.As(err, &request): // its text has the whole URL
		f.text, f.passes = oneLine(request.Err.Error()), true
	default:
		f.text, f.passes = oneLine(err.Error()), true
	}
	for _, secret := range secrets {
		if secret != "" {
			f.text = strings.ReplaceAll(f.text, secret, "(hidden)")
		}
	}
	f.text = cut(f.text)
	return f
}

// passing are the statuses of a server that can't answer now: 412 of one that lags behind, 429 of a standby or a quota,
// 472 and 473 of standbys, 5xx of one that is sealed or without a leader, and of an engine whose own server is away.
func passing(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusPreconditionFailed, http.StatusTooManyRequests, 472, 473:
		return true
	}
	return status >= 500
}

// passingWords are what Vault says with other statuses when the cause passes: elections, and a server that it asks
// itself, be it for keys (jwt mounts), for Namespaces (kubernetes mounts) or for credentials.
var passingWords = []string{
	"vault is sealed", "local node not active", "no leader", "not the leader", "leadership lost",
	"raft is already shutdown",
	"context canceled", "deadline exceeded", "dial tcp", "connection refused", "connection reset", "i/o timeout",
	"no such host", "tls handshake timeout", "throttl", "rate exceeded", "too many requests", "service unavailable",
}

// goneWords are what both servers say of a lease, or of an accessor, that isn't there any more.
var goneWords = []string{
	"token not found", "invalid accessor", "lease not found", "lease expired", "invalid lease id",
}

// lastWords are the refusals of a renewal that are for good.
var lastWords = append([]string{"max ttl", "not renewable", "cannot be renewed"}, goneWords...)

const maxText = 400

// oneLine drops what Vault and its libraries put around the text: lists, and counts of errors.
func oneLine(text string) string {
	var parts []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if _, rest, ok := strings.Cut(line, "occurred:"); ok && strings.Contains(line, "error") {
			line = strings.TrimSpace(rest)
		}
		line = strings.TrimSpace(strings.TrimPrefix(line, "*"))
		if line != "" && !slices.Contains(parts, line) {
			parts = append(parts, line)
		}
	}
	return strings.Join(parts, "; ")
}

func cut(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + "..."
}
