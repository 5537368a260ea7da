package driver

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// Reap is what the first process of a container does: it runs this program again as its child, hands on the signals
// that ask for its end, and waits for whatever becomes an orphan, until the child has ended. It returns the child's
// exit status. Processes that git, a provisioner or a killed engine leave behind would stay as zombies otherwise. The
// driver itself can't wait for them: os/exec would not get the status of an engine that was waited for.
func Reap(argv, env []string) (status int, err error) {
	self, err := os.Executable()
	if err != nil {
		return 1, fmt.Errorf("finding this program: %w", err)
	}
	if err := Harden(); err != nil {
		return 1, err
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	//nolint:gosec // it is this very program, with its own arguments
	child, err := syscall.ForkExec(self, argv, &syscall.ProcAttr{Env: env, Files: []uintptr{0, 1, 2}})
	if err != nil {
		return 1, fmt.Errorf("starting the driver: %w", err)
	}
	go func() {
		for s := range signals {
			if number, ok := s.(syscall.Signal); ok {
				_ = syscall.Kill(child, number) // gone already is as good
			}
		}
	}()
	return waitFor(child)
}

// waitFor waits for the child, and for all that ends before.
func waitFor(child int) (status int, err error) {
	for {
		var s syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &s, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 1, fmt.Errorf("waiting for the driver: %w", err)
		case pid == child && s.Signaled():
			return 128 + int(s.Signal()), nil // as a shell has it
		case pid == child:
			return s.ExitStatus(), nil
		}
	}
}
