package testkit

import (
	"fmt"
	"strings"
	"sync"
)

// Log collects what is logged. Its methods may be called at once.
type Log struct {
	mutex sync.Mutex
	lines []string
}

// Printf takes a line.
func (l *Log) Printf(format string, args ...any) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

// String is all lines.
func (l *Log) String() string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return strings.Join(l.lines, "\n")
}
