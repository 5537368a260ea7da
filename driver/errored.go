package driver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// erroredState is where Terraform leaves a state that it could not save.
const erroredState = "errored.tfstate"

// tidyUp looks after the state when an engine is gone, however it went: what is on its way arrives, a state that
// Terraform could not save is saved, a lock that it left is released. It returns the step's own error, if there is one.
func (r *run) tidyUp(ctx context.Context, failed error) error {
	if r.proxy == nil && r.states == nil {
		return failed
	}
	t := r.Params.Timeouts
	apply := cmp.Or(t.Apply, applyLimit)
	// The Pod's deadline comes first, for the Run has begun before: a state is given up when its Pod is, and not earlier.
	last, cancel := r.afterStop(ctx,
		cmp.Or(t.Init, initLimit)+cmp.Or(t.Plan, planLimit)+apply+t.Grace+finish, byState)
	defer cancel()
	if r.proxy != nil {
		r.proxy.settle(last)
	}
	r.closeJournal(failed)
	if r.foreign() {
		r.releaseLeft(last)
	}
	if err := r.rescue(last); err != nil {
		failed = err
	}
	failed = r.keepMade(last, failed)
	if r.proxy != nil {
		after, cancel := r.afterStop(ctx, apply, byReport)
		defer cancel()
		if err := r.proxy.unlock(after); err != nil {
			r.log.printf("Releasing the state's lock failed: %v", err)
		}
	}
	return failed
}

// rescue saves the state that Terraform could not save, if there is one. What can't be saved where it belongs is kept
// by the state service, and the Run ends: another apply would make everything again.
func (r *run) rescue(ctx context.Context) error {
	state, err := r.leftState()
	if err != nil || state == nil {
		return err
	}
	r.log.printf("== saving the state that Terraform could not save")
	if err := r.save(ctx, state); err != nil {
		return err
	}
	r.said.dumped = nil
	if err := os.Remove(r.work(erroredState)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &failure{job.StateUnsaved, fmt.Sprintf("removing %s: %v", erroredState, err)}
	}
	r.log.printf("The state is saved")
	return nil
}

// leftState is what the engine could not save: in a file, or printed; nil if there is none.
func (r *run) leftState() ([]byte, error) {
	if r.said.dumped != nil {
		return r.said.dumped, nil
	}
	state, err := os.ReadFile(r.work(erroredState))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, &failure{job.StateUnsaved, fmt.Sprintf("reading the state that Terraform could not save: %v", err)}
	}
	return state, nil
}

// save stores a state where it belongs. One that is refused there for good is to be kept.
func (r *run) save(ctx context.Context, state []byte) error {
	place, store, err := r.home()
	if err != nil {
		return err
	}
	for delay := delays(r.RetryDelay); ; {
		refused := r.patiently(ctx, func() error { return store(ctx, state) })
		if refused == nil {
			return nil
		}
		kept := r.keepAside(ctx, aside{place, state, refused})
		if kept == nil || forGood(kept) || ctx.Err() != nil {
			return saidUnsaved(refused, kept)
		}
		r.log.printf("Keeping the state aside failed too (%v): trying both again", kept)
		waits(ctx.Done(), delay.NextBackOff())
	}
}

func saidUnsaved(refused, kept error) *failure {
	if kept == nil {
		return &failure{job.StateUnsaved, fmt.Sprintf("the state could not be saved: %s. The state service keeps it, and "+
			"the next Run stores it before anything else", firstLine(refused))}
	}
	return &failure{job.StateUnsaved, fmt.Sprintf("the state that Terraform could not save is lost with the Pod: %s; "+
		"keeping it aside failed too: %s. What was made stands in the Run's log", firstLine(refused), firstLine(kept))}
}

// home is where the state belongs: the digest of a backend that isn't Plumbline's own, and how it is stored there.
func (r *run) home() (place string, store func(context.Context, []byte) error, err error) {
	if !r.foreign() {
		return "", r.proxy.push, nil
	}
	place, err = r.spec.Backend.Digest()
	return place, r.pushForeign, err
}

// pushForeign is `terraform state push`.
func (r *run) pushForeign(ctx context.Context, state []byte) error {
	path := filepath.Join(r.Paths.Temp, erroredState)
	if err := os.WriteFile(path, state, 0o600); err != nil {
		return fmt.Errorf("writing it to a file: %w", err)
	}
	defer os.Remove(path) //nolint:errcheck // it goes with the Pod
	return r.states.StatePush(ctx, path)
}

// patiently tries until it is refused for good. A state service that is away is tried until the Pod's end; an error
// that may be for good or not, for as long as one request of Terraform's is.
func (r *run) patiently(ctx context.Context, store func() error) error {
	var until time.Time
	return backoff.RetryNotify(func() error {
		err := store()
		switch now := r.Clock.Now(); {
		case err == nil, !r.foreign() && unreached(err):
		case until.IsZero() && !forGood(err):
			until = now.Add(r.client.patience)
		case forGood(err) || now.After(until):
			return backoff.Permanent(err)
		}
		return err
	}, backoff.WithContext(delays(r.RetryDelay), ctx), func(err error, wait time.Duration) {
		r.log.printf("Saving the state failed (%s); trying again in %s", firstLine(err), wait.Round(100*time.Millisecond))
	})
}

// forGood tells whether the state service has refused something that it will refuse again.
func forGood(err error) bool {
	var r *refusal
	return errors.As(err, &r) && r.status < http.StatusInternalServerError && !away(r.status)
}

// unreached tells whether the state service has said nothing of the matter.
func unreached(err error) bool {
	var r *refusal
	return !errors.As(err, &r) || away(r.status)
}
