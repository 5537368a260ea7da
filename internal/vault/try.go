package vault

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/openbao/openbao/api/v2"
)

// attempts is one call with its tries.
type attempts struct {
	client *Client
	call   func(context.Context) (*api.Secret, error)
	limit  time.Duration
	last   *failure
}

// try repeats a call until it ends well, is refused for good, or ctx ends.
func (c *Client) try(
	ctx context.Context, doing string, call func(context.Context) (*api.Secret, error),
) (*api.Secret, error) {
	a := &attempts{client: c, call: call, limit: firstTryLimit}
	waits := backoff.NewExponentialBackOff(backoff.WithInitialInterval(c.RetryDelay),
		backoff.WithMaxInterval(max(lastDelay, c.RetryDelay)), backoff.WithMaxElapsedTime(0))
	secret, err := backoff.RetryNotifyWithData(func() (*api.Secret, error) { return a.once(ctx) },
		backoff.WithContext(waits, ctx), func(err error, wait time.Duration) {
			c.Log("Vault at %s: %s failed (%v); trying again in %s", c.Address, doing, err, wait.Round(100*time.Millisecond))
		})
	switch {
	case err == nil:
		return secret, nil
	case a.last.passes || a.last.status == 0:
		return nil, c.unavailable(&failure{status: a.last.status, text: doing + ": " + a.last.text})
	default:
		return nil, &Error{Reason: Denied, Status: a.last.status, Message: c.as(doing) + ": " + a.last.Error()}
	}
}

func (a *attempts) once(ctx context.Context) (*api.Secret, error) {
	try, cancel := context.WithTimeout(ctx, a.limit)
	defer cancel()
	secret, err := a.call(try)
	if err == nil {
		return secret, nil
	}
	f := digest(err, a.client.api.Token())
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		f.text = "no answer in time"
	}
	a.limit = min(2*a.limit, lastTryLimit)
	if a.last == nil || ctx.Err() == nil {
		a.last = f // what was wrong is worth more than that time is up
	}
	if !f.passes {
		return nil, backoff.Permanent(f)
	}
	// The next try may reach another node, through a name or a Service; and a connection may be dead without a sign.
	a.client.Close()
	return nil, f
}
