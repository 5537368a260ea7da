package driver

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// stallLimit is for how long Terraform may make no progress if the Params don't say.
const stallLimit = 10 * time.Minute

// ticks say only that Terraform is still there: "Still creating... [10m0s elapsed]". They go on for as long as a
// provider hangs, so they are no progress.
var ticks = map[string]bool{
	"apply_progress":        true,
	"ephemeral_op_progress": true,
}

// heartbeat ends a step in which Terraform makes no progress for too long. Progress is whatever Terraform says but for
// its ticks; what is on stderr is not, for a provider that hangs may well go on complaining there. While the state
// service owes Terraform an answer it isn't Terraform that hangs: the heart rests, and begins anew with the answer.
type heartbeat struct {
	limit time.Duration
	end   context.CancelCauseFunc

	mu sync.Mutex
	// step is which one goes on; fresh is true until Terraform says something in it.
	step  string
	fresh bool
	last  string
	// inWork are the resources that were begun and not ended, and what is done to each.
	inWork map[string]string
	owed   int // answers of the state service
	timer  *time.Timer
	beats  int
	over   bool
}

// watched runs an engine that tells of its progress: the ladder is climbed too when it stops to.
func (r *run) watched(ctx context.Context, p *pace, engine func() error) error {
	h := &heartbeat{limit: cmp.Or(r.Params.Timeouts.Stall, stallLimit), end: p.cancel, inWork: map[string]string{}}
	h.enter(p.step().name)
	defer h.stop()
	r.said.heartbeat = h
	enters := r.said.onApply
	r.said.onApply = func() {
		enters()
		h.enter(p.step().name)
	}
	if r.proxy != nil {
		r.proxy.heartbeat.Store(h)
		defer r.proxy.heartbeat.Store(nil)
	}
	return r.interruptible(ctx, engine)
}

// enter begins with a step.
func (h *heartbeat) enter(step string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.step, h.fresh = step, true
	h.beat()
}

// hear takes in what Terraform says. A nil heartbeat hears nothing.
func (h *heartbeat) hear(m message) {
	if h == nil || ticks[m.Type] {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.follow(m)
	if m.Type != "version" {
		h.last, h.fresh = cmp.Or(strings.TrimSpace(m.Text), h.last), false
	}
	h.beat()
}

// hearText takes in what is no message.
func (h *heartbeat) hearText(text string) { h.hear(message{Text: text}) }

// follow keeps the books on the resources: refresh_start, apply_start and their like begin one.
func (h *heartbeat) follow(m message) {
	what, phase, _ := cutLast(m.Type, "_")
	address := m.Hook.Resource.Addr
	switch {
	case address == "" || what == "provision":
	case phase == "start":
		h.inWork[address] = doing(what, m.Hook.Action)
	case phase == "complete", phase == "errored":
		delete(h.inWork, address)
	}
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func doing(what, action string) string {
	switch action {
	case "create":
		return "created"
	case "update":
		return "updated"
	case "delete":
		return "destroyed"
	}
	if what == "ephemeral_op" {
		return "opened or closed"
	}
	return "read"
}

// owes marks a request to the state service until the returned function is called.
func (h *heartbeat) owes() (answered func()) {
	if h == nil {
		return func() {}
	}
	h.count(1)
	return func() { h.count(-1) }
}

func (h *heartbeat) count(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.owed += n
	h.beat()
}

// beat begins to wait anew. It is called with the mutex held.
func (h *heartbeat) beat() {
	h.beats++
	if h.timer != nil {
		h.timer.Stop()
	}
	if h.over || h.owed > 0 {
		return
	}
	beat := h.beats
	h.timer = time.AfterFunc(h.limit, func() { h.stalled(beat) })
}

func (h *heartbeat) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	h.beat()
}

// stalled ends the step unless there was a beat meanwhile.
func (h *heartbeat) stalled(beat int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.beats != beat || h.over {
		return
	}
	h.over = true
	h.end(&failure{job.Stalled, fmt.Sprintf("%s made no progress for %s: %s", h.step, h.limit, h.place())})
}

// place is where Terraform was last seen.
func (h *heartbeat) place() string {
	switch addresses := slices.Sorted(maps.Keys(h.inWork)); {
	case len(addresses) == 1:
		return fmt.Sprintf("%s was being %s", addresses[0], h.inWork[addresses[0]])
	case len(addresses) > 1:
		return fmt.Sprintf("%s was being %s, and %d more", addresses[0], h.inWork[addresses[0]], len(addresses)-1)
	case h.step == "init" && h.last == "":
		return "it has said nothing"
	case h.step == "init":
		return fmt.Sprintf("the last it said was %q", h.last)
	case h.fresh:
		return "no resource was come to, as when a provider hangs in its configuration"
	default:
		return fmt.Sprintf("no resource was in work; the last it said was %q", h.last)
	}
}
