// Package cloud is what the end-to-end tests' Terraform provider manages things in: a small HTTP API that keeps things
// by name and misbehaves as it is told. The provider is in the module below provider/; it tells the API about every
// operation that it begins, and the API answers with what is to go wrong.
//
//	test --faults--> cloud <--begin(op)-- provider --> hang | wait | fail | do it and fail | print | eat memory
//	test --things--> cloud <--things----- provider
//
// Everything is kept by space, so that tests that run side by side don't meet.
package cloud

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"
)

// Operations of the provider that can be made to go wrong.
const (
	Configure = "configure"
	Read      = "read"
	Create    = "create"
	Update    = "update"
	Delete    = "delete"
)

// Made counts the things that were made. A create that is interrupted is begun, and nothing is made.
const Made = "made"

// Kind is a way to misbehave.
type Kind string

// The kinds.
const (
	// Fail: the operation fails and nothing was done.
	Fail Kind = "fail"
	// FailAfter: the operation is done, and then it fails all the same.
	FailAfter Kind = "fail-after"
	// Hang: the operation doesn't end until the fault is taken away; asking it to stop doesn't help.
	Hang Kind = "hang"
	// HangExpired hangs as Hang does when the provider's token has expired, which one that the cloud doesn't know has.
	HangExpired Kind = "hang-expired"
	// Delay: the operation waits Seconds first.
	Delay Kind = "delay"
	// Print: the provider writes MiB to stderr.
	Print Kind = "print"
	// Warn: the provider adds MiB of warnings to its answer.
	Warn Kind = "warn"
	// Eat: the provider takes MiB of memory.
	Eat Kind = "eat"
)

// Fault is one thing to go wrong.
type Fault struct {
	Op   string `json:"op"`
	Kind Kind   `json:"kind"`
	// After is how many operations pass first.
	After int `json:"after,omitempty"`
	// Times is how many operations meet the fault; 0 for each one until the fault is taken away.
	Times int `json:"times,omitempty"`
	// Message is the error of Fail and FailAfter.
	Message string `json:"message,omitempty"`
	MiB     int    `json:"mib,omitempty"`
	Seconds int    `json:"seconds,omitempty"`
}

func (f Fault) hangs() bool { return f.Kind == Hang || f.Kind == HangExpired }

// Orders are what the provider itself has to do about an operation that it began.
type Orders struct {
	Fail      string `json:"fail,omitempty"`
	FailAfter string `json:"failAfter,omitempty"`
	PrintMiB  int    `json:"printMiB,omitempty"`
	WarnMiB   int    `json:"warnMiB,omitempty"`
	EatMiB    int    `json:"eatMiB,omitempty"`
}

// The API's own errors.
var (
	ErrExists   = errors.New("already exists")
	ErrNotFound = errors.New("not found")
)

// space is one test's part of the cloud.
type space struct {
	mutex  sync.Mutex
	things map[string]string
	faults []Fault
	begun  map[string]int       // by operation, and Made
	tokens map[string]time.Time // until when each is good
	// changed is closed and made anew whenever something changes: hanging and waiting callers look again.
	changed chan struct{}
}

func newSpace() *space {
	return &space{
		things: map[string]string{}, begun: map[string]int{}, tokens: map[string]time.Time{}, changed: make(chan struct{}),
	}
}

func (s *space) broadcast() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// setFaults replaces all faults; what hung goes on.
func (s *space) setFaults(faults []Fault) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.faults = faults
	s.broadcast()
}

// issue makes a token good for a while.
func (s *space) issue(token string, until time.Time) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.tokens[token] = until
}

func (s *space) expired(token string) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return !time.Now().Before(s.tokens[token])
}

// begin notes an operation of a provider with a token, and meets its faults. It comes back when the provider may go on.
func (s *space) begin(ctx context.Context, op, token string) (Orders, error) {
	var o Orders
	for _, f := range s.meet(op) {
		if f.Kind == HangExpired && !s.expired(token) {
			continue
		}
		if err := s.wait(ctx, f); err != nil {
			return o, err
		}
		o.add(f)
	}
	return o, nil
}

// wait keeps the provider waiting for as long as the fault wants it to.
func (s *space) wait(ctx context.Context, f Fault) error {
	switch f.Kind {
	case Hang, HangExpired:
		return s.await(ctx, func() bool { return !s.hangs(f.Op) })
	case Delay:
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Duration(f.Seconds) * time.Second):
		}
	}
	return nil
}

func (o *Orders) add(f Fault) {
	switch f.Kind {
	case Fail:
		o.Fail = f.Message
	case FailAfter:
		o.FailAfter = f.Message
	case Print:
		o.PrintMiB = f.MiB
	case Warn:
		o.WarnMiB = f.MiB
	case Eat:
		o.EatMiB = f.MiB
	}
}

// meet counts the operation and takes from each fault what it uses up.
func (s *space) meet(op string) []Fault {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.begun[op]++
	var met, left []Fault
	for _, f := range s.faults {
		if f.Op != op || f.After > 0 {
			if f.Op == op {
				f.After--
			}
			left = append(left, f)
			continue
		}
		met = append(met, f)
		// A fault that hangs stays, for it is its removal that ends it.
		if f.Times != 1 || f.hangs() {
			f.Times = max(0, f.Times-1)
			left = append(left, f)
		}
	}
	s.faults = left
	s.broadcast()
	return met
}

// hangs is only called with the mutex held.
func (s *space) hangs(op string) bool {
	for _, f := range s.faults {
		if f.Op == op && f.hangs() && f.After == 0 {
			return true
		}
	}
	return false
}

// await waits until a condition on the space holds. The condition is asked with the mutex held.
func (s *space) await(ctx context.Context, holds func() bool) error {
	for {
		s.mutex.Lock()
		done, changed := holds(), s.changed
		s.mutex.Unlock()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		}
	}
}

// count waits until an operation was begun so many times.
func (s *space) count(ctx context.Context, op string, atLeast int) (int, error) {
	var n int
	err := s.await(ctx, func() bool {
		n = s.begun[op]
		return n >= atLeast
	})
	return n, err
}

func (s *space) get(name string) (string, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	value, ok := s.things[name]
	if !ok {
		return "", ErrNotFound
	}
	return value, nil
}

func (s *space) create(name, value string) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if _, ok := s.things[name]; ok {
		return ErrExists
	}
	s.things[name] = value
	s.begun[Made]++
	s.broadcast()
	return nil
}

// put sets a thing, whether it exists or not.
func (s *space) put(name, value string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.things[name] = value
	s.broadcast()
}

func (s *space) remove(name string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	delete(s.things, name)
	s.broadcast()
}

// all is a copy.
func (s *space) all() map[string]string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return maps.Clone(s.things)
}
