package driver

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// An engine hands its state to a remote backend every 20 s at most. Should it be killed, what it has made since then
// stands in no state, and the next apply would make it again. So the driver keeps a journal of what the stream reports
// as made and no stored state covers. It leaves the Pod while the apply goes on, and at the latest when the engine is
// gone; what is left in it is taken over before anything is planned again (takeover.go).

// journalEvery is how often the journal leaves the Pod at most: that much is lost when the driver is killed too.
const journalEvery = time.Second

// item is a resource that was made, as the stream tells it.
type item struct {
	address
	IDKey   string `json:"id_key,omitempty"`
	IDValue string `json:"id_value,omitempty"`
	// Replaces says that there was another thing at its address.
	Replaces bool `json:"replaces,omitempty"`
}

func (i item) String() string {
	if i.IDValue == "" {
		return i.Addr
	}
	return fmt.Sprintf("%s (%s %s)", i.Addr, i.IDKey, i.IDValue)
}

// journal holds the items that no stored state is known to cover. Adding to it never waits.
type journal struct {
	// note has the state service keep the items in place of those before.
	note func(context.Context, []item) error
	// newest is the newest stored state, as far as it is known here.
	newest func() []byte
	ctx    context.Context
	stop   context.CancelFunc
	// patience is how long one attempt to note them may take.
	patience time.Duration

	mu    sync.Mutex
	items []item
	timer *time.Timer

	// noting is held while the items are noted; noted tells that the state service has some.
	noting sync.Mutex
	noted  bool
}

func (r *run) newJournal(ctx context.Context) *journal {
	j := &journal{newest: func() []byte { return nil }, patience: r.client.patience}
	if r.proxy != nil && !r.foreign() {
		j.newest = r.proxy.newest
	}
	j.note = r.client.noteMade
	j.ctx, j.stop = context.WithCancel(context.WithoutCancel(ctx))
	return j
}

// add has something noted that was created. A nil journal keeps nothing.
func (j *journal) add(i item) {
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.items = append(j.items, i)
	if j.timer == nil {
		j.timer = time.AfterFunc(journalEvery, j.flush)
	}
}

// flush notes what no stored state covers by now. What fails is tried again with what comes next, or at the end.
func (j *journal) flush() {
	j.noting.Lock()
	defer j.noting.Unlock()
	j.mu.Lock()
	j.items, j.timer = uncovered(j.items, j.newest()), nil
	items := slices.Clone(j.items)
	j.mu.Unlock()
	_ = j.tell(j.ctx, items)
}

// tell has the items noted; the caller holds noting. Where none are noted, none needn't be.
func (j *journal) tell(ctx context.Context, items []item) error {
	if len(items) == 0 && !j.noted {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, j.patience)
	defer cancel()
	j.noted = true // also if the answer is lost
	err := j.note(ctx, items)
	if err == nil {
		j.noted = len(items) > 0
	}
	return err
}

// settle ends the flushing and notes what is left. A flush that is on its way comes first: were it cut off, it might
// arrive later all the same, and take the place of what is noted here.
func (j *journal) settle(ctx context.Context, left []item) error {
	defer context.AfterFunc(ctx, func() { j.stop() })()
	j.noting.Lock()
	defer j.noting.Unlock()
	j.mu.Lock()
	if j.timer != nil {
		j.timer.Stop()
		j.timer = nil
	}
	j.items = left
	j.mu.Unlock()
	return j.tell(ctx, left)
}

// drop forgets the items: they are stored.
func (j *journal) drop() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.items = nil
}

// expect says that the state service has some of this Run's already.
func (j *journal) expect() {
	j.noting.Lock()
	defer j.noting.Unlock()
	j.noted = true
}

func (j *journal) content() []item {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.items)
}

// noteMade has the state service keep what this Run has made and no state holds.
func (c *stateClient) noteMade(ctx context.Context, items []item) error {
	if items == nil {
		items = []item{}
	}
	b, err := json.Marshal(items)
	if err != nil {
		return fmt.Errorf("encoding what was made: %w", err)
	}
	return c.tell(ctx, request{method: http.MethodPut, path: "/made", body: b})
}

// dropMade has it forget what another Run had made.
func (c *stateClient) dropMade(ctx context.Context, run string) error {
	return c.tell(ctx, request{method: http.MethodDelete, path: "/made/" + url.PathEscape(run)})
}

// closeJournal ends what an apply adds to the journal. An engine that went well, or has told its errors and ended by
// itself, has stored all that it has made, or left a state that is rescued.
func (r *run) closeJournal(failed error) {
	if r.said.journal == nil {
		return // it has applied nothing, and what was left before is still to be taken over
	}
	r.said.journal = nil
	if failed == nil || !r.left && r.said.errors.total > 0 {
		r.journal.drop()
	}
}

// keepMade notes what an engine that was killed has made and stands in no state.
func (r *run) keepMade(ctx context.Context, failed error) error {
	if r.journal == nil {
		return failed
	}
	left := r.journal.content()
	if len(left) > 0 {
		left = uncovered(left, r.newestState(ctx))
	}
	err := r.journal.settle(ctx, left)
	if len(left) == 0 {
		return failed // what the state service has too much is found in the state
	}
	r.log.printf("== %d resources were made and stand in no state: %s", len(left), list(left))
	if err != nil {
		return &failure{job.StateUnsaved, fmt.Sprintf("the engine has made what stands in no state, and that could not be "+
			"noted either (%v): %s", err, list(left))}
	}
	return failed
}

// newestState is the one that is stored; nil if it can't be read.
func (r *run) newestState(ctx context.Context) []byte {
	if !r.foreign() {
		return r.proxy.newest()
	}
	_, text, err := r.pull(ctx)
	if err != nil {
		return nil
	}
	return []byte(text)
}

// maxListed is how many items a message names.
const maxListed = 10

func list(items []item) string {
	var names []string
	for _, i := range items[:min(len(items), maxListed)] {
		names = append(names, i.String())
	}
	text := strings.Join(names, ", ")
	if more := len(items) - maxListed; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
