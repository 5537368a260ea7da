// Package supervise keeps a set of long-running processes alive: it starts each one when those it needs are ready,
// restarts what crashes, and stops, starts or kills single ones on request, as tests of bad days need.
//
//	[]Process --New--> Supervisor.Run --one goroutine each--> start -> ready -> (crashed? again) -> stopped
//
// It knows nothing of Kubernetes.
package supervise

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrUnknown says that no process of that name is supervised.
var ErrUnknown = errors.New("unknown component")

// Process is what to run and when.
type Process struct {
	Name string
	Argv []string
	Env  []string
	// Log is the file that takes standard output and error; it is appended to across restarts.
	Log string
	// After names the processes that must be ready before this one starts.
	After []string
	// Ready tells whether the process serves; nil means as soon as it runs.
	Ready func(context.Context) error
}

// State tells where a process is in its life.
type State string

// The states of a process.
const (
	Waiting  State = "waiting"
	Starting State = "starting"
	Ready    State = "ready"
	Crashed  State = "crashed"
	Stopped  State = "stopped"
)

// Status is one process as a person wants to see it.
type Status struct {
	Name     string `json:"name"`
	State    State  `json:"state"`
	PID      int    `json:"pid,omitempty"`
	Restarts int    `json:"restarts"`
	LastExit string `json:"lastExit,omitempty"`
}

// Supervisor owns the processes.
type Supervisor struct {
	units []*unit
	names map[string]*unit
}

// New makes a supervisor that does nothing yet.
func New(processes []Process) (*Supervisor, error) {
	s := &Supervisor{names: map[string]*unit{}}
	for _, p := range processes {
		u := newUnit(p)
		s.units = append(s.units, u)
		s.names[p.Name] = u
	}
	for _, u := range s.units {
		for _, name := range u.After {
			needed, err := s.find(name)
			if err != nil {
				return nil, fmt.Errorf("ordering %s: %w", u.Name, err)
			}
			u.needs = append(u.needs, needed)
		}
	}
	return s, nil
}

// Run starts everything and keeps it running until the context ends; then it stops everything and returns.
func (s *Supervisor) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, u := range s.units {
		wg.Go(func() { u.run(ctx) })
	}
	wg.Wait()
}

// Status lists the processes in the order they were given.
func (s *Supervisor) Status() []Status {
	list := make([]Status, len(s.units))
	for i, u := range s.units {
		list[i] = u.snapshot()
	}
	return list
}

// Stop ends a process, gently at first, and keeps it ended until Start.
func (s *Supervisor) Stop(ctx context.Context, name string) error {
	u, err := s.find(name)
	if err != nil {
		return err
	}
	u.want(false)
	return u.await(ctx, Stopped)
}

// Start runs a stopped process again and waits until it is ready.
func (s *Supervisor) Start(ctx context.Context, name string) error {
	u, err := s.find(name)
	if err != nil {
		return err
	}
	u.want(true)
	return u.await(ctx, Ready)
}

// Kill ends a process with SIGKILL; it is restarted like after any crash.
func (s *Supervisor) Kill(name string) error {
	u, err := s.find(name)
	if err != nil {
		return err
	}
	return u.kill()
}

func (s *Supervisor) find(name string) (*unit, error) {
	u, ok := s.names[name]
	if !ok {
		return nil, fmt.Errorf("%w %q", ErrUnknown, name)
	}
	return u, nil
}

// pause waits, but not beyond the context's end.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
