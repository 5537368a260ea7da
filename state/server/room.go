package server

import (
	"context"
	"fmt"
	"net/http"
	"sync"

	"golang.org/x/sync/semaphore"
)

const (
	// largeRoom is for all larger bodies at once, received and sent. With what is made of a body until it is stored, and
	// the small ones, it fits in the memory that the chart gives a server.
	largeRoom = 192 << 20
	// namespaceRoom is what one namespace may have of it, so that slow clients of one leave room for the others.
	namespaceRoom = largeRoom / 2
	// maxSizes bounds how many sizes of answers are remembered.
	maxSizes = 10_000
)

// room is memory that large bodies share. It is safe for concurrent use.
type room struct {
	all *semaphore.Weighted

	mu     sync.Mutex
	shares map[string]*share
	// sizes are those of the last large answers, by what was asked for.
	sizes map[string]int64
}

// share is what a namespace has of the room, and how many calls hold it or wait for it.
type share struct {
	*semaphore.Weighted
	calls int
}

func newRoom() *room {
	return &room{all: semaphore.NewWeighted(largeRoom), shares: map[string]*share{}, sizes: map[string]int64{}}
}

// hold takes room for a call, first of its namespace's share, and waits for it until ctx ends.
func (r *room) hold(ctx context.Context, c *call, size int64) error {
	mine := r.join(c.namespace())
	if err := mine.Acquire(ctx, size); err != nil {
		r.leave(c.namespace())
		return fmt.Errorf("waiting for room beside the large bodies of namespace %q: %w", c.namespace(), err)
	}
	if err := r.all.Acquire(ctx, size); err != nil {
		mine.Release(size)
		r.leave(c.namespace())
		return fmt.Errorf("waiting for room beside other large bodies: %w", err)
	}
	c.held += size
	c.shares++
	return nil
}

// shrink gives back what a call holds beyond size.
func (r *room) shrink(c *call, size int64) {
	if c.held <= size {
		return
	}
	r.all.Release(c.held - size)
	r.mu.Lock()
	r.shares[c.namespace()].Release(c.held - size)
	r.mu.Unlock()
	c.held = size
}

// release gives all back that a call holds.
func (r *room) release(c *call) {
	r.shrink(c, 0)
	for ; c.shares > 0; c.shares-- {
		r.leave(c.namespace())
	}
}

func (r *room) join(namespace string) *share {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.shares[namespace]
	if s == nil {
		s = &share{Weighted: semaphore.NewWeighted(namespaceRoom)}
		r.shares[namespace] = s
	}
	s.calls++
	return s
}

func (r *room) leave(namespace string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.shares[namespace]; s.calls > 1 {
		s.calls--
		return
	}
	delete(r.shares, namespace)
}

// expected is how large an answer will be: as large as the last one to the same question, and as large as can be when
// there was none.
func (r *room) expected(question string) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if size, ok := r.sizes[question]; ok {
		return size
	}
	return maxState
}

func (r *room) learn(question string, size int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.sizes) >= maxSizes {
		clear(r.sizes)
	}
	r.sizes[question] = size
}

// answersLarge tells whether a route's answers may be as large as a state.
func (rt route) answersLarge() bool {
	return rt.timeout == bigTimeout && http.MethodGet == rt.pattern[:len(http.MethodGet)]
}

// handle carries a call out. A large answer is read whole before it is sent, so it takes room too, until it is sent.
func (s *Server) handle(ctx context.Context, rt route, c *call) (answer, error) {
	if !rt.answersLarge() {
		return rt.handle(s, ctx, *c)
	}
	question := rt.name + " " + c.uid + " " + c.r.URL.Path
	size := s.room.expected(question)
	if size > freeBody {
		if err := s.room.hold(ctx, c, size); err != nil {
			return answer{}, err
		}
	}
	a, err := rt.handle(s, ctx, *c)
	if err == nil {
		s.room.learn(question, int64(len(a.body)))
	}
	if len(a.body) <= freeBody {
		s.room.shrink(c, 0)
	}
	s.room.shrink(c, int64(len(a.body)))
	return a, err
}

// namespace is the one that a call is about.
func (c *call) namespace() string { return c.r.PathValue("namespace") }
