package driver

import (
	"context"
	"errors"
	"time"
)

// interruptible runs an engine and, once ctx has ended, climbs the ladder until the engine is out: tfexec sends SIGINT
// right away, upon which Terraform finishes what is in flight and saves its state. A provider that hangs keeps it from
// that: after the grace the providers are killed, which Terraform takes for a failed plugin, so that it saves its state
// all the same. Then the whole process group goes.
func (r *run) interruptible(ctx context.Context, engine func() error) error {
	out := make(chan struct{})
	climbed := make(chan struct{})
	go func() {
		defer close(climbed)
		r.climb(ctx, out)
	}()
	err := engine()
	close(out)
	<-climbed
	r.left = r.left || killed(err)
	return err
}

func (r *run) climb(ctx context.Context, out <-chan struct{}) {
	select {
	case <-out:
		return
	case <-ctx.Done():
	}
	grace := r.Params.Timeouts.Grace
	why := "asked to stop"
	if err := whyEnded(ctx); errors.Is(err, context.DeadlineExceeded) {
		why = err.Error()
	}
	r.log.printf("== %s: Terraform has %s to finish what is in flight", why, grace)
	if !waits(out, grace) {
		return
	}
	for _, name := range killProviders() {
		r.log.printf("Killed %s, which did not let Terraform end", name)
	}
	if !waits(out, r.KillDelay) {
		return
	}
	r.log.printf("Killing Terraform, which did not end")
	killEngines()
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
