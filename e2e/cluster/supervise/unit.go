package supervise

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

const (
	probeEvery   = 50 * time.Millisecond
	probeTimeout = 2 * time.Second
	// stopGrace is for a component that is to be seen ending well; endGrace for all of them, when nothing is kept.
	stopGrace  = 5 * time.Second
	endGrace   = time.Second
	maxBackoff = 5 * time.Second
)

// unit is one process's life. The goroutine in run owns the process; the others only set what is wanted and wait.
type unit struct {
	Process
	needs []*unit

	mu      sync.Mutex
	status  Status
	wanted  bool
	process *os.Process
	changed chan struct{} // closed and replaced at every change
}

func newUnit(p Process) *unit {
	return &unit{
		Process: p,
		wanted:  true,
		status:  Status{Name: p.Name, State: Waiting},
		changed: make(chan struct{}),
	}
}

func (u *unit) run(ctx context.Context) {
	u.waitForNeeds(ctx)
	for u.until(ctx, func() bool { return u.wanted }) && ctx.Err() == nil {
		started := time.Now()
		u.once(ctx)
		u.rest(ctx, time.Since(started))
	}
	u.update(func() { u.status.State = Stopped })
}

// waitForNeeds orders the first start only: what crashes later comes back on its own, like on a real node.
func (u *unit) waitForNeeds(ctx context.Context) {
	for _, needed := range u.needs {
		needed.until(ctx, func() bool { return needed.status.State == Ready })
	}
}

// once starts the process and returns when it has ended, whoever ended it.
func (u *unit) once(ctx context.Context) {
	cmd, err := u.start()
	if err != nil {
		u.update(func() { u.status.State, u.status.LastExit = Crashed, err.Error() })
		return
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	probing, stopProbing := context.WithCancel(ctx)
	defer stopProbing()
	go u.probe(probing)

	err = u.waitForEnd(ctx, cmd.Process, exited)
	stopProbing()
	u.update(func() {
		u.process, u.status.PID, u.status.LastExit = nil, 0, describe(err)
		u.status.State = Crashed
		if !u.wanted || ctx.Err() != nil {
			u.status.State = Stopped
		}
	})
}

func (u *unit) start() (*exec.Cmd, error) {
	log, err := os.OpenFile(u.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the log: %w", err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(u.Argv[0], u.Argv[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = u.Env, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting: %w", err)
	}
	u.update(func() { u.process, u.status.PID, u.status.State = cmd.Process, cmd.Process.Pid, Starting })
	return cmd, nil
}

// waitForEnd returns when the process has ended: by itself, or because it is no longer wanted.
func (u *unit) waitForEnd(ctx context.Context, process *os.Process, exited <-chan error) error {
	unwanted := make(chan struct{})
	watching, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		u.until(watching, func() bool { return !u.wanted })
		close(unwanted)
	}()
	select {
	case err := <-exited:
		return err
	case <-unwanted: // also closed when the supervisor ends
	}
	_ = process.Signal(syscall.SIGTERM)
	select {
	case err := <-exited:
		return err
	case <-time.After(u.grace(ctx)):
	}
	_ = process.Kill()
	return <-exited
}

func (u *unit) grace(ctx context.Context) time.Duration {
	if ctx.Err() != nil {
		return endGrace
	}
	return stopGrace
}

func (u *unit) probe(ctx context.Context) {
	for ctx.Err() == nil {
		if u.isReady(ctx) {
			u.update(func() {
				if u.process != nil && ctx.Err() == nil {
					u.status.State = Ready
				}
			})
			return
		}
		pause(ctx, probeEvery)
	}
}

func (u *unit) isReady(ctx context.Context) bool {
	if u.Ready == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return u.Ready(ctx) == nil
}

// rest keeps a process that dies at once from eating the machine; one that had lived is back at once.
func (u *unit) rest(ctx context.Context, lived time.Duration) {
	if u.snapshot().State != Crashed {
		return
	}
	u.update(func() { u.status.Restarts++ })
	if lived < maxBackoff {
		pause(ctx, min(maxBackoff, time.Duration(u.snapshot().Restarts)*200*time.Millisecond))
	}
	u.update(func() {
		if !u.wanted {
			u.status.State = Stopped
		}
	})
}

func (u *unit) want(wanted bool) { u.update(func() { u.wanted = wanted }) }

func (u *unit) kill() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.process == nil {
		return fmt.Errorf("killing %s: it does not run", u.Name)
	}
	return u.process.Kill()
}

func (u *unit) await(ctx context.Context, state State) error {
	if !u.until(ctx, func() bool { return u.status.State == state }) {
		return fmt.Errorf("waiting for %s to be %s: %w", u.Name, state, ctx.Err())
	}
	return nil
}

func (u *unit) snapshot() Status {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.status
}

func (u *unit) update(change func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	change()
	close(u.changed)
	u.changed = make(chan struct{})
}

// until waits for a condition, which is asked under the lock; it returns false when the context ends first.
func (u *unit) until(ctx context.Context, condition func() bool) bool {
	for {
		u.mu.Lock()
		holds, changed := condition(), u.changed
		u.mu.Unlock()
		if holds {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-changed:
		}
	}
}

func describe(err error) string {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return "exit status 0"
	case errors.As(err, &exit):
		return exit.String()
	default:
		return err.Error()
	}
}
