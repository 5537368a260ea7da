package driver

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/plumbline-dev/plumbline/driver/job"
)

const (
	// settlingTime is for how long after it was made a credential may be unknown to the cloud that it is for: clouds copy
	// them to all their regions, which takes ten seconds mostly and a minute at times.
	settlingTime = 2 * time.Minute
	// settlingPause is the longest wait between two tries in that time.
	settlingPause = 10 * time.Second
)

// settled carries out an attempt, and again as long as it is refused for credentials that were made a moment ago.
// Such a refusal doesn't count as an attempt of the unit.
func (r *run) settled(ctx context.Context, u unit, p *pace) error {
	waits := delays(2 * r.RetryDelay)
	waits.MaxInterval = max(settlingPause, 2*r.RetryDelay)
	return backoff.RetryNotify(func() error {
		err := r.attempt(ctx, u, p)
		if err == nil || r.unsettled(err) {
			return err
		}
		return backoff.Permanent(err)
	}, backoff.WithContext(waits, ctx), func(err error, wait time.Duration) {
		r.log.printf("%v; the credentials were made a moment ago and may not be known everywhere yet: "+
			"trying again in %s, until %s", err, wait.Round(100*time.Millisecond),
			r.access.fresh.UTC().Format(time.TimeOnly))
	})
}

// unsettled tells whether an attempt was refused for credentials that are fresh.
func (r *run) unsettled(err error) bool {
	f := (*failure)(nil)
	if !errors.As(err, &f) || r.access.kept == nil || r.access.kept.Err() != nil {
		return false
	}
	refused := f.class == job.CredentialsDenied || f.class == job.CredentialsExpired
	return refused && r.Clock.Now().Before(r.access.fresh)
}
