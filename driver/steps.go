package driver

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/plumbline-dev/plumbline/driver/classify"
	"github.com/plumbline-dev/plumbline/driver/job"
)

// unit is what is tried again as one. Plan and apply are one unit, because a failed apply makes the plan stale, and
// they are one process too: `terraform apply` plans, tells so, and applies that very plan. Run apart, the second one
// loads the configuration, checks the providers' checksums and starts the providers all over: as much time again.
type unit struct {
	// steps are entered in their order; which one fails or takes too long is known from what Terraform says.
	steps    []step
	attempts uint64
	do       func(*run, context.Context, *pace) error
	// after says that it needs no credentials, and is carried out in the Pod's last moments too.
	after bool
}

// step is one row of the Result's steps.
type step struct {
	name  string
	limit time.Duration
	// fails is the class of a failure that has none of its own.
	fails job.Class
}

// Limits of the steps that have no timeout in the API, since they only move small things about, and of those that have
// one but weren't given it.
const (
	prepareLimit     = time.Minute
	credentialsLimit = 30 * time.Second
	initLimit        = 10 * time.Minute
	planLimit        = 30 * time.Minute
	applyLimit       = time.Hour
	outputsLimit     = 2 * time.Minute
)

const maxAttempts = 3

// table is what a Run does, in order.
func table(p job.Params) []unit {
	var (
		prepare = step{"prepare", prepareLimit, job.InitFailed}
		fetched = step{"credentials", cmp.Or(p.Timeouts.Credentials, credentialsLimit), job.CredentialsUnavailable}
		initial = step{"init", cmp.Or(p.Timeouts.Init, initLimit), job.InitFailed}
		plan    = step{"plan", cmp.Or(p.Timeouts.Plan, planLimit), job.PlanFailed}
		apply   = step{"apply", cmp.Or(p.Timeouts.Apply, applyLimit), job.ApplyFailed}
		outputs = step{"outputs", outputsLimit, job.StateUnavailable}
	)
	units := []unit{{steps: []step{prepare}, attempts: 1, do: (*run).prepare}}
	if p.Vault != nil {
		units = append(units, unit{steps: []step{fetched}, attempts: 1, do: (*run).fetchCredentials})
	}
	units = append(units, unit{steps: []step{initial}, attempts: maxAttempts, do: (*run).initialize})
	switch p.Operation {
	case job.Plan:
		return append(units, unit{steps: []step{plan}, attempts: maxAttempts, do: (*run).plan})
	case job.Destroy:
		return append(units, unit{steps: []step{plan, apply}, attempts: maxAttempts, do: (*run).apply})
	default:
		do := (*run).apply
		if p.Check {
			do = (*run).check
		}
		return append(units,
			unit{steps: []step{plan, apply}, attempts: maxAttempts, do: do},
			unit{steps: []step{outputs}, attempts: 1, do: (*run).outputs, after: true})
	}
}

// try carries a unit out, again if its failure is of a kind that goes away by itself.
func (r *run) try(ctx context.Context, u unit) error {
	p := newPace(r.Clock, u.steps, r.log.heading)
	defer func() { r.result.Steps = append(r.result.Steps, p.entered()...) }()
	attempt := func() error {
		err := r.settled(ctx, u, p)
		if f := (*failure)(nil); err == nil || errors.As(err, &f) && classify.Retryable(f.class) {
			return err
		}
		return backoff.Permanent(err)
	}
	waits := backoff.WithContext(backoff.WithMaxRetries(delays(r.RetryDelay), u.attempts-1), ctx)
	return backoff.RetryNotify(attempt, waits, func(err error, wait time.Duration) {
		r.log.printf("%v; trying again in %s", err, wait.Round(100*time.Millisecond))
	})
}

func (r *run) attempt(ctx context.Context, u unit, p *pace) error {
	r.pace = p
	paced, stop := p.start(ctx)
	if !u.after {
		defer r.guarded(p.cancel)()
	}
	kills := func() int { return oomKills(r.memory.root) + r.memory.kills() }
	before := kills()
	err := u.do(r, paced, p)
	cause := err
	if f := r.stateMissing(); f != nil {
		err = f
	}
	if err != nil {
		f := r.failed(paced, err, p.step())
		if f.class = outOfMemory(f.class, kills()-before); f.class == job.OOMKilled {
			f.message = r.memory.message(f.message, killed(cause))
		}
		p.fail(f.class)
		err = f
	}
	stop() // how long the state service takes to come back is not the step's time
	return r.tidyUp(ctx, err)
}

// failed gives the error of a step its class and its message.
func (r *run) failed(ctx context.Context, err error, s step) *failure {
	if f := (*failure)(nil); errors.As(err, &f) {
		return f
	}
	if ctx.Err() != nil {
		err = whyEnded(ctx)
		if f := (*failure)(nil); errors.As(err, &f) {
			return f
		}
		class, _ := classify.Ended(err)
		return &failure{cmp.Or(class, s.fails), stopMessage(err, s)}
	}
	v := r.said.errors
	if v.total == 0 {
		v = judge(errorsIn(r.stderr.String()))
	}
	if v.total == 0 {
		v = judge([]diagnostic{{Summary: strings.TrimSpace(err.Error())}})
	}
	f := &failure{cmp.Or(v.class, s.fails), v.message()}
	if class, ended := classify.Ended(err); ended {
		f.class = class
	}
	f.message = r.aboutState(f, v.decisive.text())
	return f
}

func stopMessage(err error, s step) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return err.Error()
	}
	return s.name + " was stopped before its end"
}

// whyEnded is the deadline that passed, the failure that ended the step from outside Terraform, or context.Canceled.
func whyEnded(ctx context.Context) error {
	cause := context.Cause(ctx)
	if f := (*failure)(nil); errors.As(cause, &f) || errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return ctx.Err()
}

// delays are the waits between attempts: growing, spread, and without an end of their own.
func delays(first time.Duration) *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(first),
		backoff.WithMultiplier(2),
		backoff.WithMaxInterval(max(first, 15*time.Second)),
		backoff.WithMaxElapsedTime(0))
}
