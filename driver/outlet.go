package driver

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

const (
	// maxQueue is how much of the log waits for stdout.
	maxQueue = 4 << 20
	// portion is how much is written at once: each is a sign that stdout still takes something.
	portion = 64 << 10
	// outletPatience is how long stdout may take nothing at all before what it has no room for is left out.
	outletPatience = 2 * time.Second
)

// KeepOnWithoutOutput has a write to a closed stdout or stderr fail as any other does: by itself Go would end the
// process, and with it the rescue of a state. It is a handler and no ignored signal, for that would be inherited by
// Terraform.
func KeepOnWithoutOutput() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// outlet writes the log to stdout without waiting for it for ever: somebody who doesn't read on, such as a container
// runtime in trouble, must hold up neither Terraform nor the ladder that ends it. What is slow is waited for; what
// doesn't move loses the part of the log that there is no room for, and says how much.
type outlet struct {
	out      io.Writer
	patience time.Duration

	mu    sync.Mutex
	queue []byte
	lost  int64
	// stuck says that nothing has moved for patience.
	stuck, closed bool
	// moved is closed, and made anew, each time that stdout has taken something; more has something put in.
	moved, more, done chan struct{}
}

func newOutlet(out io.Writer, patience time.Duration) *outlet {
	o := &outlet{out: out, patience: patience,
		moved: make(chan struct{}), more: make(chan struct{}, 1), done: make(chan struct{})}
	go o.pump()
	return o
}

// Write never fails: a log that can't be written is no reason to stop.
func (o *outlet) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.queue) > 0 && len(o.queue)+len(b) > maxQueue {
		if o.stuck {
			o.lost += int64(len(b))
			return len(b), nil
		}
		o.await()
	}
	if o.closed {
		return len(b), nil
	}
	o.tellLost()
	o.queue = append(o.queue, b...)
	select {
	case o.more <- struct{}{}:
	default:
	}
	return len(b), nil
}

// tellLost is called with the mutex held.
func (o *outlet) tellLost() {
	if o.lost > 0 {
		o.queue = fmt.Appendf(o.queue, "== %d bytes of the log are missing here: stdout did not take them\n", o.lost)
		o.lost = 0
	}
}

// await waits until stdout takes something, or counts as stuck. It is called with the mutex held.
func (o *outlet) await() {
	moved := o.moved
	o.mu.Unlock()
	late := waits(moved, o.patience)
	o.mu.Lock()
	if late && o.moved == moved {
		o.stuck = true
	}
}

func (o *outlet) pump() {
	defer close(o.done)
	for range o.more {
		for {
			b := o.next()
			if len(b) == 0 {
				break
			}
			_, _ = o.out.Write(b) // there is nobody to be told
			o.mu.Lock()
			o.stuck = false
			close(o.moved)
			o.moved = make(chan struct{})
			o.mu.Unlock()
		}
	}
}

func (o *outlet) next() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := min(portion, len(o.queue))
	b := o.queue[:n:n]
	o.queue = o.queue[n:]
	return b
}

// close waits until all is written, or until stdout takes nothing any more. What is written after it is dropped.
func (o *outlet) close() {
	o.mu.Lock()
	o.tellLost()
	o.closed = true
	select {
	case o.more <- struct{}{}:
	default:
	}
	close(o.more)
	o.mu.Unlock()
	timer := time.NewTimer(o.patience)
	defer timer.Stop()
	for {
		o.mu.Lock()
		moved := o.moved
		o.mu.Unlock()
		select {
		case <-o.done:
			return
		case <-moved:
			timer.Reset(o.patience)
		case <-timer.C:
			return
		}
	}
}
