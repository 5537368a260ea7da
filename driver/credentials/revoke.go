package credentials

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/internal/vault"
)

// ending is the time that a token is left with when it is about to be revoked.
const ending = 5 * time.Second

// Revoke revokes each token, and with them every lease; it goes on trying until ctx ends. A token that is gone is fine.
func (s *Session) Revoke(ctx context.Context) error {
	defer s.client.Close()
	tokens := slices.DeleteFunc(s.snapshot(), func(l *lease) bool { return l.id != "" })
	errs := make([]error, len(tokens))
	// The session's own is the first and goes last: one that another login gave does not end with it.
	for i, l := range slices.Backward(tokens) {
		errs[i] = revokeToken(ctx, l)
	}
	for i, l := range tokens {
		errs[i] = s.left(ctx, l, errs[i])
	}
	return errors.Join(errs...)
}

// left is what remains of a token after an attempt to revoke it.
func (s *Session) left(ctx context.Context, l *lease, refusal error) error {
	if !vault.IsDenied(refusal) {
		return classed(refusal)
	}
	valid, err := l.client.Valid(ctx)
	switch {
	case err != nil:
		return classed(err)
	case !valid: // before, or with the token that it was made with
		return nil
	case l.client == s.client:
		return s.revokeLeases(ctx, refusal)
	}
	return classed(fmt.Errorf("%s stays until %s: %w", l.what, clockTime(l.ends), refusal))
}

func revokeToken(ctx context.Context, l *lease) error {
	if err := endSoon(ctx, l); err != nil {
		return err
	}
	_, err := l.client.Write(ctx, "auth/token/revoke-self", map[string]any{})
	return err
}

// endSoon cuts a token's time before it is revoked. A leader that goes in the middle of a revocation leaves a token
// that is refused as one that is gone, while its leases live on until the token's time is over: whoever leads next ends
// it then. A token that can't be cut is no error.
func endSoon(ctx context.Context, token *lease) error {
	if !token.renewable {
		return nil
	}
	_, err := token.client.Write(ctx, "auth/token/renew-self", map[string]any{"increment": whole(ending)})
	if vault.IsDenied(err) {
		return nil
	}
	return err
}

// revokeLeases is for a token that can't be revoked by itself: a batch token, or one whose policy forbids it.
func (s *Session) revokeLeases(ctx context.Context, refusal error) error {
	var failed error
	for _, l := range s.snapshot() {
		if l.id == "" {
			continue
		}
		_, err := s.client.Write(ctx, "sys/leases/revoke", map[string]any{"lease_id": l.id})
		if err != nil && !vault.IsGone(err) {
			failed = errors.Join(failed, fmt.Errorf("%s stays until %s: %w", l.what, clockTime(l.ends), err))
		}
	}
	if failed == nil && s.accessor == "" {
		return nil // a batch token is no more than a signature: without leases it holds nothing
	}
	message := refusal.Error()
	if failed != nil {
		message = failed.Error()
	}
	return &Error{Class: job.CredentialsDenied, Message: message}
}

// RevokeAccessor revokes the token with that accessor, for a process that can't do so any more. One that is gone
// already is fine.
func RevokeAccessor(ctx context.Context, cfg Config, accessor string) error {
	s, err := Login(ctx, cfg)
	if err != nil {
		return err
	}
	_, err = s.client.Write(ctx, "auth/token/revoke-accessor", map[string]any{"accessor": accessor})
	if err != nil && !vault.IsGone(err) {
		return errors.Join(classed(err), s.Revoke(ctx))
	}
	return s.Revoke(ctx)
}
