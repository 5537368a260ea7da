package postgres

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// patience is how long a call goes on while credentials are replaced or the server is restarted or failed over.
	patience = 15 * time.Second
	minPause = 20 * time.Millisecond
	maxPause = 250 * time.Millisecond
)

// repeatable says which failures of a call may be repeated.
type repeatable int

const (
	// whenUndone: only what was certainly not done.
	whenUndone repeatable = iota
	// always: doing it twice is like doing it once.
	always
)

// do calls f until it succeeds, fails for a reason of its own, or patience ends.
func (s *Store) do(ctx context.Context, r repeatable, f func(context.Context) error) error {
	end := s.clock.Now().Add(patience)
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		err := s.try(ctx, f)
		if err == nil || ctx.Err() != nil || !worthwhile(err, r) || !s.clock.Now().Add(pause).Before(end) {
			return err
		}
		if outlived(err) {
			s.pool.Reset()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.clock.After(pause):
		}
	}
}

func (s *Store) try(ctx context.Context, f func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := f(bounded)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// outlived tells whether connections stand that are good for nothing any more, because their user was dropped or their
// server isn't the primary. Where one more is denied, those that stand are the best there is: a role's password changes
// before the file does.
func outlived(err error) bool {
	answer, ok := errors.AsType[*pgconn.PgError](err)
	return ok && slices.Contains([]string{"42501", "25006", "XX000"}, answer.Code)
}

// passing are the codes, or classes of them, of failures that a new connection may not have.
var passing = []string{
	"08",    // connection exception
	"28",    // invalid authorization: a password or a user that has been replaced
	"42501", // insufficient privilege: what a connection gets whose user was dropped
	"53300", // too many connections
	"57P0",  // the server, or this connection, is being shut down, or isn't up yet
	"25006", // read-only: a former primary after a failover
	"40001", // serialization failure
	"40P01", // deadlock
	"XX000", // cache lookup failed for role: dropped in the middle
}

// worthwhile tells whether to try again. What the server says with a code it has not done.
func worthwhile(err error, r repeatable) bool {
	if answer, ok := errors.AsType[*pgconn.PgError](err); ok {
		for _, code := range passing {
			if strings.HasPrefix(answer.Code, code) {
				return true
			}
		}
		return false
	}
	var connecting *pgconn.ConnectError
	// A missing file is one that is being replaced.
	if errors.As(err, &connecting) || errors.Is(err, fs.ErrNotExist) || pgconn.SafeToRetry(err) {
		return true
	}
	var network net.Error
	lost := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network)
	return lost && r == always
}
