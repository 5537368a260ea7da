package vault

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/openbao/openbao/api/v2"
)

// call is what is repeated.
type call struct {
	doing, path string
	once        func(context.Context) (*api.Secret, error)
}

// attempts is one call with its tries.
type attempts struct {
	client *Client
	call   call
	limit  time.Duration
	last   *failure
	// confirmed tells that the last answer was a 404 by a server that knows.
	confirmed bool
}

// try repeats a call until it ends well, is refused for good, or ctx ends.
func (c *Client) try(ctx context.Context, call call) (*api.Secret, error) {
	doing := call.doing
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
	secret, err := a.call.once(try)
	if err == nil {
		return secret, nil
	}
	f := digest(err, a.client.api.Token())
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		f.text = "no answer in time"
	}
	confirmed := false
	if f.status == http.StatusNotFound && !f.passes {
		confirmed = a.judge(try, f)
	}
	a.limit = min(2*a.limit, lastTryLimit)
	if a.last == nil || ctx.Err() == nil {
		a.last = f // what was wrong is worth more than that time is up
	}
	if !f.passes {
		return nil, backoff.Permanent(f)
	}
	if a.confirmed = confirmed; !confirmed {
		// The next try may reach another node, through a name or a Service; and a connection may be dead without a sign.
		a.client.Close()
	}
	return nil, f
}

// judge looks at an answer that there is nothing, and tells whether it is by a server that leads and has the mount. In
// an election OpenBao says the same of a mount that it has not loaded yet, and a node that is about to lead may say so
// just before it is asked. So it is believed the second time.
func (a *attempts) judge(ctx context.Context, f *failure) bool {
	why := a.client.unsure(ctx, a.call.path, f)
	f.passes = why != "" || !a.confirmed
	if why != "" {
		f.text += ", and " + why
	}
	return why == ""
}

// unsure says why a server that finds nothing may not know, or nothing.
func (c *Client) unsure(ctx context.Context, path string, f *failure) string {
	// It is asked at the root, whichever namespace the client has.
	health, err := c.api.WithNamespace("").Sys().HealthWithContext(ctx)
	switch {
	case err != nil:
		return "whether that server leads can't be told: " + digest(err, c.api.Token()).Error()
	case !health.Initialized || health.Sealed || health.Standby:
		return "that server does not lead"
	case !f.bare:
		return "" // it is the mount that isn't there, and the answer says so
	}
	// Each token may ask this of a path that it has access to.
	if _, err := c.read(ctx, "sys/internal/ui/mounts/"+path, nil); err != nil {
		return "whether it has that mount by now can't be told: " + digest(err, c.api.Token()).Error()
	}
	return ""
}
