package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
)

const (
	// freeBody is how much of a body is read without asking for room: most states are smaller.
	freeBody = 1 << 20
)

// readBody reads at most limit bytes; a route without a body ignores what is sent. Memory is taken for what has come,
// not for what is announced, and beyond the first of it there is room for so much at once: a client that announces a
// lot and sends nothing takes neither memory nor room, and has until the route's deadline.
func (s *Server) readBody(ctx context.Context, w http.ResponseWriter, c *call, limit int64) error {
	if limit == 0 {
		return nil
	}
	if deadline, ok := ctx.Deadline(); ok {
		err := http.NewResponseController(w).SetReadDeadline(deadline)
		if err != nil && !errors.Is(err, http.ErrNotSupported) {
			return fmt.Errorf("bounding the time for the request's body: %w", err)
		}
	}
	var b bytes.Buffer
	body := http.MaxBytesReader(w, c.r.Body, limit)
	_, err := io.CopyN(&b, body, freeBody)
	if err == nil {
		err = s.readLarge(ctx, c, &b, sized{body, limit})
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading the request's body: %w", err)
	}
	c.body = b.Bytes()
	return nil
}

// sized is a body and how large it may become.
type sized struct {
	io.Reader
	limit int64
}

func (s *Server) readLarge(ctx context.Context, c *call, b *bytes.Buffer, body sized) error {
	size := body.limit
	if n := c.r.ContentLength; n > 0 && n <= size {
		size = n
	}
	if size <= freeBody {
		return drain(b, body)
	}
	if err := s.room.hold(ctx, c, size); err != nil {
		return err
	}
	b.Grow(int(size) - b.Len())
	return drain(b, body)
}

func drain(b *bytes.Buffer, body io.Reader) error {
	_, err := io.Copy(b, body)
	return err
}
