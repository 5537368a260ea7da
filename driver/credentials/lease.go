package credentials

import (
	"context"
	"math"
	"strings"
	"time"

	"github.com/openbao/openbao/api/v2"

	"github.com/plumbline-dev/plumbline/internal/vault"
)

// lease is one thing that ends unless it is renewed: the login token, or what was read with it.
type lease struct {
	what string // for people
	id   string // empty for a token
	// client has the token that it hangs on, or that it is.
	client    *vault.Client
	ttl       time.Duration
	ends      time.Time // zero for what never ends
	renewable bool
	renew     func(ctx context.Context, increment time.Duration) (granted time.Duration, err error)
	// increment is what is asked for at a renewal: its first time to live.
	increment time.Duration
	// stuck says why its end can't be moved any more.
	stuck string
}

// grace is how much a time to live may differ for being told in whole seconds.
const grace = time.Second

func tokenLease(client *vault.Client, what string, auth *api.SecretAuth, began time.Time) *lease {
	l := &lease{what: what, client: client, renewable: auth.Renewable, increment: seconds(auth.LeaseDuration)}
	l.extend(began, l.increment)
	l.renew = func(ctx context.Context, increment time.Duration) (time.Duration, error) {
		secret, err := client.Renew(ctx, "auth/token/renew-self", map[string]any{"increment": whole(increment)})
		if err != nil || secret == nil || secret.Auth == nil {
			return 0, err
		}
		return seconds(secret.Auth.LeaseDuration), nil
	}
	return l
}

func (s *Session) secretLease(path string, secret *api.Secret, began time.Time) *lease {
	l := &lease{
		what: "the lease of " + path, id: secret.LeaseID, client: s.client, renewable: secret.Renewable,
		increment: seconds(secret.LeaseDuration),
	}
	l.extend(began, l.increment)
	l.renew = func(ctx context.Context, increment time.Duration) (time.Duration, error) {
		secret, err := s.client.Renew(ctx, "sys/leases/renew",
			map[string]any{"lease_id": l.id, "increment": whole(increment)})
		if err != nil || secret == nil {
			return 0, err
		}
		return seconds(secret.LeaseDuration), nil
	}
	return l
}

// title is what, at the beginning of a sentence.
func (l *lease) title() string { return strings.ToUpper(l.what[:1]) + l.what[1:] }

// extend notes what was granted, counted from before it was asked for. It tells whether that is more than before.
func (l *lease) extend(asked time.Time, granted time.Duration) bool {
	if granted <= 0 {
		return false
	}
	before := l.ends
	l.ttl, l.ends = granted, asked.Add(granted)
	return l.ends.After(before.Add(grace))
}

// last is when a renewal is given up.
func (l *lease) last(margin time.Duration) time.Time {
	return l.ends.Add(-min(margin, l.increment/marginShare))
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

// whole are full seconds, at least one.
func whole(d time.Duration) int { return int(math.Max(1, math.Floor(d.Seconds()))) }

func clockTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }
