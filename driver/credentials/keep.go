package credentials

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/internal/vault"
)

// marginShare is the least part of a lease's time that is left when its renewal is given up: a margin that is made for
// hours must not leave a lease of a minute no time for its renewal.
const marginShare = 6

// Keep renews the token and the leases at two thirds of their time, until ctx ends; then it returns nil. As soon as one
// of them can't be renewed any more and ends within the margin it returns an Error of class CredentialsExpired.
func (s *Session) Keep(ctx context.Context, margin time.Duration) error {
	group, ctx := errgroup.WithContext(ctx)
	// One by one, so that an engine whose own server is away holds up nothing but its own leases.
	for _, l := range s.snapshot() {
		group.Go(func() error { return s.keep(ctx, l, margin) })
	}
	return group.Wait()
}

func (s *Session) keep(ctx context.Context, l *lease, margin time.Duration) error {
	for !l.ends.IsZero() {
		last := l.last(margin)
		if why := s.final(l); why != "" {
			if !s.sleep(ctx, last) {
				return nil
			}
			return expired(l, why)
		}
		if !s.sleep(ctx, earlier(l.ends.Add(-l.ttl/3), last.Add(-l.ttl/12))) {
			return nil
		}
		if err := s.renew(ctx, l, margin); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return nil
}

// final says why a lease is not to be renewed, or nothing.
func (s *Session) final(l *lease) string {
	switch {
	case l.stuck != "":
		return l.stuck
	case !l.renewable:
		return "it is not renewable"
	case l.id == "" && !s.until.IsZero() && l.ends.After(s.until.Add(-grace)):
		return "the Run's time ends then"
	}
	return ""
}

// renew tries for as long as the margin allows. An error is the end of the lease.
func (s *Session) renew(ctx context.Context, l *lease, margin time.Duration) error {
	try, stop := s.before(ctx, l.last(margin))
	defer stop()
	asked, increment := s.cfg.Clock.Now(), l.increment
	if l.id == "" && !s.until.IsZero() {
		increment = min(increment, s.until.Sub(asked))
	}
	granted, err := l.renew(try, increment)
	switch {
	case ctx.Err() != nil:
		return nil
	case err == nil:
		if more := l.extend(asked, granted); !more || !l.last(margin).After(asked) {
			l.stuck = "its maximum time to live is reached"
		}
	case vault.IsDenied(err) && !lost(try, l, err):
		l.stuck = err.Error()
	default:
		return expired(l, err.Error())
	}
	if l.stuck != "" {
		s.cfg.Log("%s can't be renewed any more (%s): it ends at %s", l.what, l.stuck, clockTime(l.ends))
	}
	return nil
}

// lost tells whether a renewal was refused because the lease is gone, or the token that it hangs on.
func lost(ctx context.Context, l *lease, refusal error) bool {
	gone, _ := gone(ctx, l.client, refusal) // while nobody can tell, it is left to its time
	return gone || vault.IsGone(refusal)
}

// before returns a context that ends at a time of the clock.
func (s *Session) before(ctx context.Context, at time.Time) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	timer := s.cfg.Clock.NewTimer(max(1, at.Sub(s.cfg.Clock.Now())))
	go func() {
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C():
			cancel()
		}
	}()
	return ctx, cancel
}

// sleep waits until a time of the clock, and tells whether it came to it before ctx ended.
func (s *Session) sleep(ctx context.Context, at time.Time) bool {
	wait := at.Sub(s.cfg.Clock.Now())
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := s.cfg.Clock.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C():
		return true
	}
}

func expired(l *lease, why string) error {
	return &Error{
		Class:   job.CredentialsExpired,
		Message: fmt.Sprintf("%s ends at %s and can't be renewed: %s", l.what, clockTime(l.ends), why),
	}
}
