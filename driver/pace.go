package driver

import (
	"context"
	"fmt"
	"time"

	"k8s.io/utils/clock"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// pace goes with a unit through its steps: it keeps each one's time over all attempts, and ends the attempt's context
// when a step's time is up. Terraform's stream enters the steps, so that one process can be two steps, each with its
// own deadline.
type pace struct {
	clock   clock.PassiveClock
	steps   []step
	records []job.Step
	enters  func(name string, attempt int)

	now    int
	since  time.Time
	timer  *time.Timer
	cancel context.CancelCauseFunc
}

func newPace(c clock.PassiveClock, steps []step, enters func(string, int)) *pace {
	p := &pace{clock: c, steps: steps, records: make([]job.Step, len(steps)), enters: enters}
	for i, s := range steps {
		p.records[i].Name = s.name
	}
	return p
}

// start begins an attempt with the first step; the returned function ends it.
func (p *pace) start(ctx context.Context) (context.Context, func()) {
	ctx, p.cancel = context.WithCancelCause(ctx)
	p.enter(0)
	return ctx, func() {
		p.leave()
		p.cancel(nil)
	}
}

// next enters the following step.
func (p *pace) next() {
	if p.now+1 < len(p.steps) {
		p.leave()
		p.enter(p.now + 1)
	}
}

func (p *pace) enter(i int) {
	s, cancel := p.steps[i], p.cancel
	p.now, p.since = i, p.clock.Now()
	p.records[i].Attempts++
	p.records[i].Class = ""
	p.enters(s.name, p.records[i].Attempts)
	p.timer = time.AfterFunc(s.limit-p.records[i].Duration, func() {
		cancel(overdue{s})
	})
}

func (p *pace) leave() {
	p.timer.Stop()
	p.records[p.now].Duration += p.clock.Since(p.since)
}

func (p *pace) step() step { return p.steps[p.now] }

func (p *pace) fail(c job.Class) { p.records[p.now].Class = c }

// entered are the records of the steps that were come to.
func (p *pace) entered() []job.Step {
	var entered []job.Step
	for _, r := range p.records {
		if r.Attempts > 0 {
			entered = append(entered, r)
		}
	}
	return entered
}

// overdue says that a step's time is up; it is a context.DeadlineExceeded.
type overdue struct{ step }

func (o overdue) Error() string        { return fmt.Sprintf("%s did not end within %s", o.name, o.limit) }
func (o overdue) Is(target error) bool { return target == context.DeadlineExceeded }
