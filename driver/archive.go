package driver

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"k8s.io/utils/clock"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// What is kept of a log is its first headSize and its last tailSize bytes, give or take a block. The same bounds hold
// for what waits to be shipped, so that a state service that is away costs that much memory and no more.
const (
	headSize = job.LogHead
	tailSize = job.LogTail
	// shipSize is how much is worth a request of its own while the head is written.
	shipSize = 64 << 10
	// shipEvery is for how long anything waits, and shipSlow from the slowAfter-th chunk on: a Run that goes on for hours
	// says little at a time.
	shipEvery = 2 * time.Second
	shipSlow  = 5 * time.Second
	slowAfter = 60
	// shipPause lies between the chunks of a tail that is written faster than anybody could read: most of it is to be
	// dropped anyway.
	shipPause = 250 * time.Millisecond

	// shipTry bounds a request, shipRetry the wait between two.
	shipTry        = 5 * time.Second
	firstShipRetry = 100 * time.Millisecond
	lastShipRetry  = 2 * time.Second
)

// shipper is an io.Writer that sends the log to the state service while the Run goes on, in chunks, from a goroutine of
// its own: writing to it never waits, never fails, and holds a bounded amount of memory. What the state service doesn't
// take in time is missing in the middle, and the chunk after it says so by its offset.
type shipper struct {
	clock clock.PassiveClock
	send  sendChunk
	stop  context.CancelFunc
	wake  chan struct{}
	done  chan struct{}

	mu      sync.Mutex
	waiting []*block
	// offset is how much was written so far.
	offset int64
	// waitingTail is how much of the tail waits.
	waitingTail int
	hurried     bool
	closed      bool
	dead        bool

	// The rest belongs to the goroutine.
	next    int       // number of the next chunk
	tail    []shipped // chunks of the tail that the state service keeps, the oldest first
	kept    int       // bytes of them
	sent    time.Time // of the last chunk
	trouble error
}

// sendChunk archives a chunk. It goes on trying until ctx ends.
type sendChunk func(context.Context, newChunk) error

// newChunk is chunk n, and the range of those that are to be dropped with it, the end not included.
type newChunk struct {
	n        int
	packed   []byte
	from, to int
}

// block is a piece of the log that waits.
type block struct {
	offset int64
	text   []byte
	since  time.Time
}

type shipped struct{ n, size int }

func (b *block) tail() bool { return b.offset >= headSize }

func newShipper(c clock.PassiveClock) *shipper {
	return &shipper{clock: c, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// Write implements io.Writer. It cuts between two writes where it can, which are whole lines.
func (s *shipper) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for rest := p; len(rest) > 0; {
		n := min(len(rest), job.MaxChunk)
		s.add(rest[:n])
		rest = rest[n:]
	}
	s.wakeUp()
	return len(p), nil
}

func (s *shipper) add(text []byte) {
	at := s.offset
	s.offset += int64(len(text))
	if s.dead {
		return
	}
	last := &block{}
	if len(s.waiting) > 0 {
		last = s.waiting[len(s.waiting)-1]
	}
	if len(s.waiting) == 0 || len(last.text)+len(text) > job.MaxChunk || last.tail() != (at >= headSize) {
		last = &block{offset: at, since: s.clock.Now()}
		s.waiting = append(s.waiting, last)
	}
	last.text = append(last.text, text...)
	if last.tail() {
		s.waitingTail += len(text)
		s.trim()
	}
}

// trim drops the oldest of the tail that waits when it is too much. The head never is.
func (s *shipper) trim() {
	for i := 0; s.waitingTail > tailSize && i < len(s.waiting); {
		if !s.waiting[i].tail() {
			i++
			continue
		}
		s.waitingTail -= len(s.waiting[i].text)
		s.waiting = append(s.waiting[:i], s.waiting[i+1:]...)
	}
}

func (s *shipper) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// start begins to ship; until then it all waits.
func (s *shipper) start(ctx context.Context, send sendChunk) {
	s.send = send
	ctx, s.stop = context.WithCancel(ctx)
	go s.ship(ctx)
}

// hurry has what waits shipped at once.
func (s *shipper) hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hurried = true
	s.wakeUp()
}

// close waits until all is shipped or ctx ends, and returns why something was not.
func (s *shipper) close(ctx context.Context) error {
	s.mu.Lock()
	s.hurried, s.closed = true, true
	s.wakeUp()
	s.mu.Unlock()
	if s.send == nil {
		return nil
	}
	defer s.stop()
	select {
	case <-s.done:
		return s.trouble
	case <-ctx.Done():
		return fmt.Errorf("archiving the log: %w", ctx.Err())
	}
}

func (s *shipper) ship(ctx context.Context) {
	defer close(s.done)
	for {
		b := s.await(ctx)
		if b == nil {
			return
		}
		if err := s.shipBlock(ctx, b); err != nil {
			s.die(err)
			return
		}
	}
}

// await returns the next block when its time has come, and nil when none will come.
func (s *shipper) await(ctx context.Context) *block {
	for {
		b, wait, over := s.due()
		if b != nil || over || ctx.Err() != nil {
			return b
		}
		timer := time.NewTimer(wait)
		select {
		case <-s.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// due takes the first block if it is to be shipped now, and tells otherwise for how long that has time, or that all is
// shipped.
func (s *shipper) due() (b *block, wait time.Duration, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		return nil, shipSlow, s.closed
	}
	b = s.waiting[0]
	if wait = s.pause(b); wait > 0 {
		return nil, wait, false
	}
	s.waiting = s.waiting[1:]
	if b.tail() {
		s.waitingTail -= len(b.text)
	}
	return b, 0, false
}

// pause is for how long the first block may still wait.
func (s *shipper) pause(first *block) time.Duration {
	every := shipEvery
	if s.next >= slowAfter {
		every = shipSlow
	}
	left := every - s.clock.Since(first.since)
	switch {
	case s.hurried:
		return 0
	case first.tail() && s.waitingTail > tailSize/2:
		return min(left, shipPause-s.clock.Since(s.sent))
	case !first.tail() && (len(first.text) >= shipSize || len(s.waiting) > 1):
		return 0
	}
	return left
}

// shipBlock sends one chunk, and has the oldest of the tail dropped that it leaves no room for.
func (s *shipper) shipBlock(ctx context.Context, b *block) error {
	packed, err := job.Chunk{Offset: b.offset, Text: b.text}.Pack()
	if err != nil {
		return err
	}
	drop := 0
	if b.tail() {
		s.tail = append(s.tail, shipped{s.next, len(b.text)})
		for s.kept += len(b.text); s.kept > tailSize; drop++ {
			s.kept -= s.tail[drop].size
		}
	}
	c := newChunk{n: s.next, packed: packed}
	if drop > 0 {
		c.from, c.to = s.tail[0].n, s.tail[drop].n
		s.tail = s.tail[drop:]
	}
	err = s.send(ctx, c)
	s.next++
	s.sent = s.clock.Now()
	return err
}

// die gives up: the Run goes on without an archive of its log.
func (s *shipper) die(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble = fmt.Errorf("archiving the log: %w", err)
	s.dead, s.waiting, s.waitingTail = true, nil, 0
}

// putChunk archives a piece of the log. It says nothing of its troubles in the log that it is to archive.
func (c *stateClient) putChunk(ctx context.Context, chunk newChunk) error {
	r := request{method: http.MethodPut, path: fmt.Sprintf("%s/log/%d", c.runPath(), chunk.n), body: chunk.packed}
	if chunk.to > chunk.from {
		r.query = fmt.Sprintf("drop=%d-%d", chunk.from, chunk.to)
	}
	return c.persist(ctx, r, shipTry)
}

// persist sends a request until it is answered for good, or ctx ends; limit is for each try.
func (c *stateClient) persist(ctx context.Context, r request, limit time.Duration) error {
	waits := backoff.NewExponentialBackOff(backoff.WithInitialInterval(firstShipRetry),
		backoff.WithMaxInterval(lastShipRetry), backoff.WithMaxElapsedTime(0))
	return backoff.Retry(func() error {
		try, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		a, err := c.once(try, r)
		if err == nil && !away(a.status) && a.err() != nil {
			return backoff.Permanent(a.err())
		}
		if err == nil {
			err = a.err()
		}
		return err
	}, backoff.WithContext(waits, ctx))
}

func (c *stateClient) runPath() string { return "/runs/" + url.PathEscape(c.run) }
