package credentials

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/openbao/openbao/api/v2"

	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/internal/vault"
)

// Session is a login with what was read with it. Fetch comes before Keep, and Revoke after it.
type Session struct {
	cfg      Config
	client   *vault.Client
	accessor string
	// until is when everything ends whatever is renewed; zero without a MaxTTL.
	until time.Time

	mu     sync.Mutex
	leases []*lease // the token's own is the first
}

// Login logs in, and waits for a server that can't answer now until ctx ends. When an answer is lost its token is known
// to nobody: it holds nothing, and ends with the role's time to live.
func Login(ctx context.Context, cfg Config) (*Session, error) {
	if cfg.Log == nil {
		cfg.Log = func(string, ...any) {}
	}
	client, err := vault.New(vault.Config{
		Address: cfg.Address, AuthPath: cfg.AuthPath, Namespace: cfg.Namespace, Role: cfg.Role, CA: cfg.CA,
		Trusted: cfg.Trusted, TokenFile: cfg.TokenFile, Log: cfg.Log, RetryDelay: cfg.RetryDelay,
	})
	if err != nil {
		return nil, classed(err)
	}
	began := cfg.Clock.Now()
	auth, err := client.Login(ctx)
	if err != nil {
		return nil, classed(err)
	}
	s := &Session{cfg: cfg, client: client, accessor: auth.Accessor}
	if cfg.MaxTTL > 0 {
		s.until = began.Add(cfg.MaxTTL)
	}
	s.leases = []*lease{tokenLease(client, "the login token", auth, began)}
	s.shorten(ctx, s.leases[0])
	return s, nil
}

// Accessor is by which others can revoke the token; empty for a batch token.
func (s *Session) Accessor() string { return s.accessor }

// shorten cuts a token's time to MaxTTL, so that it ends by itself. What can't be cut is told, and revoked all the same
// by whoever is there to do it.
func (s *Session) shorten(ctx context.Context, token *lease) {
	if s.until.IsZero() || token.ends.IsZero() || !token.ends.After(s.until) {
		return
	}
	why := "it is not renewable"
	if token.renewable {
		began, left := s.cfg.Clock.Now(), s.until.Sub(s.cfg.Clock.Now())
		granted, err := token.renew(ctx, left)
		if err == nil {
			token.extend(began, granted)
		}
		if err == nil && granted <= left+time.Second {
			return
		}
		why = "the server gives it more"
		if err != nil {
			why = err.Error()
		}
	}
	s.cfg.Log("%s can't be cut to the Run's time (%s): it ends at %s unless it is revoked before",
		token.title(), why, clockTime(token.ends))
}

// Fetch reads or writes a path, and remembers the lease of the answer. It waits as Login does. When an answer is lost
// and asked for again, the lost one's lease is unknown here, but it hangs on the token and is revoked with it.
func (s *Session) Fetch(ctx context.Context, r Request) (Answer, error) {
	path := strings.TrimPrefix(strings.Trim(r.Path, "/"), "v1/")
	call, doing := s.client.Read, "reading "
	if r.Write {
		call, doing = s.client.Write, "writing to "
	}
	began := s.cfg.Clock.Now()
	secret, err := call(ctx, path, r.Parameters)
	if err != nil {
		return Answer{}, s.refused(ctx, err)
	}
	answer, err := s.take(ctx, path, secret, began)
	if err != nil {
		return Answer{}, &Error{
			Class: job.CredentialsDenied, Message: fmt.Sprintf("%s%s as role %q: %v", doing, path, s.cfg.Role, err),
		}
	}
	return answer, nil
}

// take makes an Answer of what the server said, and a lease to be kept.
func (s *Session) take(
	ctx context.Context, path string, secret *api.Secret, began time.Time,
) (Answer, error) {
	if secret == nil {
		return Answer{Data: map[string]string{}}, nil
	}
	if secret.Auth != nil {
		return s.takeToken(ctx, path, secret.Auth, began)
	}
	fields, err := fieldsOf(path, secret)
	if err != nil {
		return Answer{}, err
	}
	answer := Answer{Data: fields}
	if secret.LeaseID != "" {
		l := s.secretLease(path, secret, began)
		s.add(l)
		answer.TTL, answer.Renewable = l.ttl, l.renewable
	}
	return answer, nil
}

// takeToken is for paths whose answer is a token of Vault's own, such as auth/token/create, or another auth mount's
// login: the latter ends with nothing but itself.
func (s *Session) takeToken(
	ctx context.Context, path string, auth *api.SecretAuth, began time.Time,
) (Answer, error) {
	client, err := s.client.With(auth.ClientToken)
	if err != nil {
		return Answer{}, err
	}
	l := tokenLease(client, "the token of "+path, auth, began)
	s.add(l)
	s.shorten(ctx, l)
	return Answer{
		Data: map[string]string{"client_token": auth.ClientToken, "accessor": auth.Accessor},
		TTL:  l.ttl, Renewable: l.renewable,
	}, nil
}

func (s *Session) add(l *lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leases = append(s.leases, l)
}

// fieldsOf are an answer's fields as text. Of KV version 2 they are those of the secret itself.
func fieldsOf(path string, secret *api.Secret) (map[string]string, error) {
	data := secret.Data
	if version2(data) {
		inner, ok := data["data"].(map[string]any)
		if !ok {
			return nil, errors.New("that version of the secret is deleted")
		}
		data = inner
	}
	if len(data) == 0 && len(secret.Warnings) > 0 {
		return nil, fmt.Errorf("%s%s", strings.Join(secret.Warnings, "; "), hint(path, secret.Warnings))
	}
	fields := make(map[string]string, len(data))
	for name, value := range data {
		text, err := vault.Text(value)
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", name, err)
		}
		fields[name] = text
	}
	return fields, nil
}

// version2 recognises an answer of KV version 2 by its two fields, and by what is in the second one.
func version2(data map[string]any) bool {
	metadata, ok := data["metadata"].(map[string]any)
	if _, there := data["data"]; !ok || !there || len(data) != 2 {
		return false
	}
	_, version := metadata["version"]
	_, created := metadata["created_time"]
	return version && created
}

// hint helps those who leave out what KV version 2 puts after its mount.
func hint(path string, warnings []string) string {
	mount, rest, ok := strings.Cut(path, "/")
	if !ok || !strings.Contains(strings.Join(warnings, " "), "versioned K/V") {
		return ""
	}
	return fmt.Sprintf(" (the mount is of KV version 2, where the path may be %s/data/%s)", mount, rest)
}

// refused gives a call's error its class. A token that is gone says nothing about what the role may do.
func (s *Session) refused(ctx context.Context, err error) error {
	gone, asked := gone(ctx, s.client, err)
	if asked != nil {
		return classed(asked)
	}
	if gone {
		return &Error{Class: job.CredentialsUnavailable, Message: "the login token is gone: " + err.Error()}
	}
	return classed(err)
}

// gone tells whether a call was refused because the client's token is not there any more.
func gone(ctx context.Context, client *vault.Client, refusal error) (bool, error) {
	if e, ok := errors.AsType[*vault.Error](refusal); !ok || e.Status != http.StatusForbidden {
		return false, nil
	}
	valid, err := client.Valid(ctx)
	return !valid && err == nil, err
}

// classed gives the errors of the client their class.
func classed(err error) error {
	if err == nil {
		return nil
	}
	class := job.CredentialsUnavailable
	if vault.IsDenied(err) {
		class = job.CredentialsDenied
	}
	return &Error{Class: class, Message: err.Error()}
}

// snapshot are the leases there are now.
func (s *Session) snapshot() []*lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.leases)
}
