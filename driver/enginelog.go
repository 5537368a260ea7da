package driver

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// drainLimit is how long the end of an engine's log is waited for: some process may have kept it open.
const drainLimit = time.Second

// engineLog is what engines write with TF_LOG. It is a named pipe, so that nothing of it lies in a file and each line
// is masked on its way into the log. stderr, where errors are looked for, stays apart.
type engineLog struct {
	path string
	// read is the pipe's end here; hold keeps it open between one engine and the next.
	read, hold *os.File
	done       chan struct{}
}

// openEngineLog has the engines' logs written into the log.
func openEngineLog(dir string, log *logWriter) (*engineLog, error) {
	l := &engineLog{path: filepath.Join(dir, "plumbline-engine.log"), done: make(chan struct{})}
	if err := unix.Mkfifo(l.path, 0o600); err != nil {
		return nil, fmt.Errorf("making a pipe for the engine's log: %w", err)
	}
	var err error
	// Without O_NONBLOCK it would wait for somebody who writes.
	if l.read, err = os.OpenFile(l.path, os.O_RDONLY|unix.O_NONBLOCK, 0); err != nil {
		return nil, fmt.Errorf("opening the pipe for the engine's log: %w", err)
	}
	if l.hold, err = os.OpenFile(l.path, os.O_WRONLY, 0); err != nil {
		return nil, fmt.Errorf("opening the pipe for the engine's log: %w", err)
	}
	go l.copy(log)
	return l, nil
}

// copy passes whole lines on. One of any length is no reason to stop: the engine would wait for ever.
func (l *engineLog) copy(log *logWriter) {
	defer close(l.done)
	lines := bufio.NewReaderSize(l.read, maxLine)
	for {
		line, err := lines.ReadSlice('\n')
		if len(line) > 0 {
			log.line(string(line))
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// close passes on what was written. A nil engineLog has nothing.
func (l *engineLog) close() {
	if l == nil {
		return
	}
	_ = l.hold.Close() // nothing was written through it
	waits(l.done, drainLimit)
	_ = l.read.Close()
	<-l.done
	_ = os.Remove(l.path) // an engine that comes all the same must not wait for a reader
}
