package statetest

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
)

// Line is a TCP line to a store's server that can be cut at any byte that is sent to it, as if the sender were killed
// there.
type Line struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	conns map[net.Conn]bool
	sent  int64
	// limit is how much may still be sent; negative for any amount.
	limit int64
	cut   context.CancelFunc
}

// NewLine opens a line to a server's host and port.
func NewLine(t *testing.T, target string) *Line {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &Line{listener: listener, target: target, conns: map[net.Conn]bool{}, limit: -1}
	go l.serve(t.Context())
	t.Cleanup(func() {
		_ = listener.Close()
		l.hangUp()
	})
	return l
}

// Address is the line's near end.
func (l *Line) Address() string { return l.listener.Addr().String() }

// Sent is how many bytes have gone to the server.
func (l *Line) Sent() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent
}

// CutAfter cuts the line after so many bytes more: every connection ends, none is made any more, and then is called.
func (l *Line) CutAfter(n int64, then context.CancelFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit, l.cut = n, then
}

// Mend makes it whole again.
func (l *Line) Mend() { l.CutAfter(-1, nil) }

func (l *Line) serve(ctx context.Context) {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		far, err := (&net.Dialer{}).DialContext(ctx, "tcp", l.target)
		if err != nil || !l.keep(near, far) {
			_ = near.Close()
			continue
		}
		go func() {
			_, _ = io.Copy(&measured{l, far}, near)
			l.drop(near, far)
		}()
		go func() {
			_, _ = io.Copy(near, far)
			l.drop(near, far)
		}()
	}
}

// keep remembers two ends, unless the line is cut.
func (l *Line) keep(near, far net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.limit == 0 {
		_ = far.Close()
		return false
	}
	l.conns[near], l.conns[far] = true, true
	return true
}

func (l *Line) drop(ends ...net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range ends {
		_ = c.Close()
		delete(l.conns, c)
	}
}

func (l *Line) hangUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		_ = c.Close()
	}
}

// take returns how many of n bytes may be sent, and whether the line ends with them.
func (l *Line) take(n int) (allowed int, cut context.CancelFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	allowed = n
	if l.limit >= 0 {
		allowed = int(min(int64(n), l.limit))
		l.limit -= int64(allowed)
		if l.limit == 0 {
			cut = l.cut
		}
	}
	l.sent += int64(allowed)
	return allowed, cut
}

// measured is the far end, to which no more is written than may be.
type measured struct {
	line *Line
	far  net.Conn
}

func (m *measured) Write(p []byte) (int, error) {
	allowed, cut := m.line.take(len(p))
	n, err := m.far.Write(p[:allowed])
	if cut != nil {
		m.line.hangUp()
		cut()
		return n, io.ErrClosedPipe
	}
	return n, err
}
