package realservers

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Front is one address for several servers, as a Service is one for several Pods: each connection goes to the next
// server that takes it.
type Front struct {
	// Address is where it listens, host:port.
	Address string

	listener net.Listener
	servers  []string
	next     atomic.Uint32
	mu       sync.Mutex
	open     map[net.Conn]struct{}
}

// NewFront listens on a free port of an address of this machine for servers given as host:port.
func NewFront(ctx context.Context, listen string, servers ...string) (*Front, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(listen, "0"))
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	f := &Front{Address: l.Addr().String(), listener: l, servers: servers, open: map[net.Conn]struct{}{}}
	go f.serve(context.WithoutCancel(ctx))
	return f, nil
}

// Stop ends it, and every connection through it.
func (f *Front) Stop() error {
	err := f.listener.Close()
	f.Cut()
	return err
}

// Cut ends every connection through it.
func (f *Front) Cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.open {
		_ = c.Close()
	}
}

func (f *Front) serve(ctx context.Context) {
	for {
		client, err := f.listener.Accept()
		if err != nil {
			return
		}
		go f.pass(ctx, client)
	}
}

func (f *Front) pass(ctx context.Context, client net.Conn) {
	defer f.track(client)()
	server := f.dial(ctx)
	if server == nil {
		return
	}
	defer f.track(server)()
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	}()
	_, _ = io.Copy(client, server)
}

// dial takes the servers by turns, and passes over those that are down.
func (f *Front) dial(ctx context.Context) net.Conn {
	for range f.servers {
		server := f.servers[int(f.next.Add(1))%len(f.servers)]
		if c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", server); err == nil {
			return c
		}
	}
	return nil
}

// track remembers a connection for as long as it is used.
func (f *Front) track(c net.Conn) (done func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open[c] = struct{}{}
	return func() {
		_ = c.Close()
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.open, c)
	}
}
