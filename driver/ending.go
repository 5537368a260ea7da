package driver

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// The Pod's end is one deadline, and each thing that is still to be done has to be done by its own part of it: what
// comes later finds less time if what was before took long, and never none.
//
//	stop --grace--> Terraform is out, or its providers are killed
//	     --state--> --report--> --revoke--> --rest of the log--> SIGKILL

// finish is what the Pod has above the grace (runner/pod: finishing), and revokeMore what it has besides for what came
// from Vault.
const (
	finish     = 30 * time.Second
	revokeMore = 15 * time.Second
)

// by is a part of the Pod's end, in thirtieths of finish: until then.
type by int

const (
	byState  by = 20
	byReport by = 25
	byRevoke by = 27
	byFlush  by = 28
	whole       = 30
)

// ending knows when the Pod was asked to stop.
type ending struct {
	once sync.Once
	at   time.Time

	mu sync.Mutex
	// reported tells that the termination message has been written: nothing provisional may come after.
	reported bool
}

// stopped is when the Pod was asked to stop, which it was.
func (r *run) stopped() time.Time {
	r.ending.once.Do(func() { r.ending.at = r.Clock.Now() })
	return r.ending.at
}

// timeLeft is how much time there is until a part of the Pod's end is over.
func (r *run) timeLeft(b by) time.Duration {
	end := r.Params.Timeouts.Grace + cmp.Or(r.Finish, finish)*time.Duration(b)/whole
	if r.Params.Vault != nil && b >= byRevoke {
		end += revokeMore
	}
	return end - r.Clock.Since(r.stopped())
}

// afterStop is a context for what must still be done after the Run's own context has ended: it lasts for the limit, but
// only for its part of the Pod's end once the Pod is asked to stop.
func (r *run) afterStop(ctx context.Context, limit time.Duration, b by) (context.Context, context.CancelFunc) {
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	stop := context.AfterFunc(ctx, func() {
		over := time.AfterFunc(r.timeLeft(b), cancel)
		context.AfterFunc(after, func() { over.Stop() })
	})
	return after, func() {
		stop()
		cancel()
	}
}

// leaveWord writes a termination message as soon as the Pod is asked to stop, for the case that it is killed before the
// Run has ended. The returned function ends the watch.
func (r *run) leaveWord(ctx context.Context) func() bool {
	return context.AfterFunc(ctx, func() {
		r.stopped()
		r.ending.mu.Lock()
		defer r.ending.mu.Unlock()
		if r.ending.reported {
			return
		}
		word := job.Result{Run: r.Params.Run, Class: job.Canceled,
			Message: "the Pod was asked to stop, and killed before the Run had ended: what was begun may not be finished"}
		if err := job.Write(r.Paths.Termination, word); err != nil {
			r.log.printf("Leaving a provisional termination message failed: %v", err)
		}
	})
}

// writeMessage leaves the termination message.
func (r *run) writeMessage() error {
	r.ending.mu.Lock()
	defer r.ending.mu.Unlock()
	r.ending.reported = true
	return job.Write(r.Paths.Termination, r.result)
}
