//go:build integration

package postgres

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/realservers"
	"github.com/plumbline-dev/plumbline/state"
)

// lossy passes everything on, until it cuts a connection in the place of the server's next answer.
type lossy struct {
	net.Listener
	server string
	cut    atomic.Bool
}

func (l *lossy) serve() {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", l.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		go func() { _, _ = io.Copy(server, client); _ = server.Close() }()
		go func() { _, _ = io.Copy(answers{l, client}, server); _ = client.Close() }()
	}
}

type answers struct {
	*lossy
	client net.Conn
}

func (a answers) Write(p []byte) (int, error) {
	if a.cut.CompareAndSwap(true, false) {
		return 0, errors.New("cut")
	}
	return a.client.Write(p)
}

func TestAWriteWhoseAnswerWasLostIsItsWriters(t *testing.T) {
	s := server(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	line := &lossy{Listener: listener, server: s.Host}
	go line.serve()
	store := opened(t, strings.Replace(s.URL(realservers.Superuser, s.Password), s.Host, listener.Addr().String(), 1))
	if err := store.Create(t.Context(), "a", nil); err != nil { // prepares the statement
		t.Fatal(err)
	}
	for i, key := range []string{"b", "c"} {
		line.cut.Store(true)
		if err := store.Create(t.Context(), key, []byte("mine")); err != nil {
			t.Errorf("creating %d: %v", i, err)
		}
		if err := store.Create(t.Context(), key, []byte("mine")); !errors.Is(err, state.ErrExists) {
			t.Errorf("creating %d again: got %v, want ErrExists", i, err)
		}
	}
	if err := store.Delete(t.Context(), "none"); err != nil { // the next one needs no preparation
		t.Error(err)
	}
	line.cut.Store(true)
	if err := store.Delete(t.Context(), "a"); err == nil {
		t.Error("a delete that may have been done was repeated")
	}
	if keys, err := store.List(t.Context(), ""); err != nil || len(keys) != 2 {
		t.Errorf("there are %q, %v", keys, err)
	}
}
