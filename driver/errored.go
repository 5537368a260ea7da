package driver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// erroredState is where Terraform leaves a state that it could not save.
const erroredState = "errored.tfstate"

// hurry is how long the state is still looked after once the Pod is asked to stop: with the ladder before it and the
// report after it, it fits in the 30 seconds that the Pod has above the grace.
const hurry = 12 * time.Second

// tidyUp looks after the state when an engine is gone, however it went: what is on its way arrives, a state that
// Terraform could not save is saved, a lock that it left is released. It returns the step's own error, if there is one.
func (r *run) tidyUp(ctx context.Context, failed error) error {
	if r.proxy == nil && r.states == nil {
		return failed
	}
	t := r.Params.Timeouts
	apply := cmp.Or(t.Apply, applyLimit)
	// The Pod's deadline comes first, for the Run has begun before: a state is given up when its Pod is, and not earlier.
	last, cancel := afterlife(ctx, cmp.Or(t.Init, initLimit)+cmp.Or(t.Plan, planLimit)+apply+t.Grace+2*hurry)
	defer cancel()
	if r.foreign() {
		return r.tidyUpForeign(last, failed)
	}
	r.proxy.settle(last)
	if err := r.pushErrored(last); err != nil {
		return &failure{job.StateUnavailable, err.Error()}
	}
	after, cancel := afterlife(ctx, apply)
	defer cancel()
	if err := r.proxy.unlock(after); err != nil {
		r.log.printf("Releasing the state's lock failed: %v", err)
	}
	return failed
}

func (r *run) pushErrored(ctx context.Context) error {
	state, err := os.ReadFile(r.work(erroredState))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("reading the state that Terraform could not save: %w", err)
	}
	r.log.printf("== saving the state that Terraform could not save")
	if err := r.proxy.push(ctx, state); err != nil {
		return fmt.Errorf("the state that Terraform could not save is lost with the Pod: %w", err)
	}
	if err := os.Remove(r.work(erroredState)); err != nil {
		return fmt.Errorf("removing %s: %w", erroredState, err)
	}
	r.log.printf("The state is saved")
	return nil
}

// afterlife is a context for what must still be done after the Run's own context has ended: it lasts for the limit, but
// only for a short while once the Pod is asked to stop.
func afterlife(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	stop := context.AfterFunc(ctx, func() {
		hurried := time.AfterFunc(hurry, cancel)
		context.AfterFunc(after, func() { hurried.Stop() })
	})
	return after, func() {
		stop()
		cancel()
	}
}
