// Package credentials speaks to Vault or OpenBao for the time of one Run: it logs in with the Pod's own token, reads
// what the Workspace asks for, renews what has a lease while Terraform runs, and revokes all of it at the end.
//
//	Login --> Session --Fetch--> Answer
//	                 \--Keep---> nil when ctx ends, or what can't be renewed any more and ends soon
//	                 \--Revoke-> the token, and with it every lease
package credentials

import (
	"fmt"
	"time"

	"k8s.io/utils/clock"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// Config says where Vault is, and as whom to log in.
type Config struct {
	// Address is the server's base URL.
	Address string
	// AuthPath is the auth mount, such as auth/kubernetes or auth/jwt.
	AuthPath string
	// Namespace of Vault Enterprise or OpenBao; empty for the root.
	Namespace string
	// Role of the auth mount.
	Role string
	// CA is a PEM bundle that the server's certificate is checked against; the system's roots when empty.
	CA []byte
	// Trusted is a PEM bundle of CAs that are trusted beside those.
	Trusted []byte
	// TokenFile holds the ServiceAccount's token; it is read anew at each login, for the kubelet renews it.
	TokenFile string
	// MaxTTL is what the login token's time to live is cut to, so that it ends by itself if this process can't end it;
	// 0 leaves it as the role says.
	MaxTTL time.Duration
	Clock  clock.Clock
	// Log gets lines for people, with nothing secret in them.
	Log func(format string, args ...any)
	// RetryDelay is the wait before the second try of a call; it doubles from there, up to some seconds.
	RetryDelay time.Duration
}

// Request is one read, or one write with parameters.
type Request struct {
	// Path without the leading v1/, such as aws/creds/deployer or secret/data/app.
	Path       string
	Write      bool
	Parameters map[string]any
}

// Answer is what a path answered.
type Answer struct {
	// Data are the fields; what is not a string is JSON. Of KV version 2 these are the fields of its data.
	Data map[string]string
	// TTL is what the lease has left, 0 for an answer without a lease (KV, static roles).
	TTL time.Duration
	// Renewable tells whether the lease can be prolonged.
	Renewable bool
}

// Error is a failure with its class: CredentialsDenied for what Vault refuses (with path and role, never a token),
// CredentialsUnavailable for a server that could not be asked in time, CredentialsExpired for what ends too soon.
type Error struct {
	Class   job.Class
	Message string
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.Class, e.Message) }
