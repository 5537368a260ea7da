package driver

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"
)

// interruptible runs an engine and, once ctx has ended, climbs the ladder until the engine is out: tfexec sends SIGINT
// right away, upon which Terraform finishes what is in flight and saves its state. A provider that hangs keeps it from
// that: after the grace the providers are killed, which Terraform takes for a failed plugin, so that it saves its state
// all the same. Then the whole process group goes.
func (r *run) interruptible(ctx context.Context, engine func() error) error {
	out := make(chan struct{})
	var watchers sync.WaitGroup
	watchers.Go(func() { r.climb(ctx, out) })
	watchers.Go(func() { r.memory.guard(out, r.log) })
	err := engine()
	r.stderr.flush()
	close(out)
	watchers.Wait()
	r.left = r.left || killed(err)
	return err
}

// climb says at each rung who is asked what, and for how long that has time.
func (r *run) climb(ctx context.Context, out <-chan struct{}) {
	select {
	case <-out:
		return
	case <-ctx.Done():
	}
	grace := r.Params.Timeouts.Grace
	r.log.printf("== %s: Terraform is interrupted and has %s to finish what is in flight and to save its state",
		stopReason(ctx), grace)
	if !waits(out, grace) {
		return
	}
	killed := strings.Join(killProviders(), ", ")
	if killed == "" {
		killed = "none is left that could hang"
	}
	r.log.printf("== Terraform did not end within %s: its providers are killed (%s), and it has %s to save its state",
		grace, killed, r.KillDelay)
	if !waits(out, r.KillDelay) {
		return
	}
	r.log.printf("== Terraform did not end within another %s: it is killed with all that it started", r.KillDelay)
	killEngines()
}

// stopReason is why the ladder is climbed, for people.
func stopReason(ctx context.Context) string {
	err := whyEnded(ctx)
	if f := (*failure)(nil); errors.As(err, &f) {
		return f.message
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return err.Error()
	}
	return "asked to stop"
}

// waits tells whether the whole time passed before the end.
func waits(end <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-end:
		return false
	case <-timer.C:
		return true
	}
}
