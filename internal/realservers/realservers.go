// Package realservers starts the servers that a store and a client are tested and measured against: PostgreSQL from
// Debian; an S3 gateway and Vault, which are built from source.
//
//	StartPostgres / StartS3 / StartVault -> a folder, free ports, processes -> URLs; Stop ends and removes it all
package realservers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

const (
	readyTimeout = 2 * time.Minute
	stopTimeout  = 30 * time.Second
	pollEvery    = 50 * time.Millisecond
)

// Logf receives one line per thing worth telling a person who waits.
type Logf func(format string, args ...any)

// process is a server with a folder that goes with it.
type process struct {
	folder string
	cmd    *exec.Cmd
	output *bytes.Buffer
	done   chan struct{}
	err    error
	once   sync.Once
}

// start runs a server until stop.
func start(folder string, cmd *exec.Cmd) (*process, error) {
	p := &process{folder: folder, cmd: cmd, output: &bytes.Buffer{}, done: make(chan struct{})}
	cmd.Dir = folder
	cmd.Stdout, cmd.Stderr = p.output, p.output
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL // a test that is killed leaves nothing behind
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// await returns when the server answers, or an error with what it has said when it ends first.
func (p *process) await(ctx context.Context, answers func(context.Context) bool) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		select {
		case <-p.done:
			return fmt.Errorf("waiting for %s: it has ended: %w\n%s", p.cmd.Path, p.err, p.output)
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", p.cmd.Path, ctx.Err())
		case <-ticker.C:
			if answers(ctx) {
				return nil
			}
		}
	}
}

// stop asks the server to end, waits for it, and removes its folder.
func (p *process) stop(signal os.Signal) error {
	var err error
	p.once.Do(func() {
		_ = p.cmd.Process.Signal(signal)
		timer := time.NewTimer(stopTimeout)
		defer timer.Stop()
		select {
		case <-p.done:
		case <-timer.C:
			_ = p.cmd.Process.Kill()
			<-p.done
			err = fmt.Errorf("stopping %s: it did not end by itself", p.cmd.Path)
		}
		err = errors.Join(err, os.RemoveAll(p.folder))
	})
	return err
}

// freePort finds one that nobody listens on.
func freePort(ctx context.Context) (int, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("finding a free port: %w", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func dials(address string) func(context.Context) bool {
	return func(ctx context.Context) bool {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", address)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	}
}
