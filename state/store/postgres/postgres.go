// Package postgres is the state.Store in one table of a PostgreSQL database.
//
//	Create: insert ... on conflict do nothing; the number of rows tells who was first
//
// Each insert carries an attempt's name. So when a connection breaks and nobody knows whether the row was written, the
// repetition finds out, and a writer never takes its own row for somebody else's. Users and passwords come from files
// that are read again for each new connection (credentials.go); what fails for their sake is repeated (retry.go).
package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"k8s.io/utils/clock"

	"github.com/plumbline-dev/plumbline/state"
)

const (
	// callTimeout is enough for 64 MiB over a slow line.
	callTimeout    = 2 * time.Minute
	connectTimeout = 10 * time.Second
	pingTimeout    = 5 * time.Second
	// maxConns bounds what one replica takes of the server's, unless the URL says pool_max_conns.
	maxConns     = 8
	defaultTable = "plumbline_store"
	// setUpLock keeps replicas that start together from making the table together.
	setUpLock = 0x706c756d62 // "plumb"
)

// Store is a state.Store in a table.
type Store struct {
	pool  *pgxpool.Pool
	clock clock.Clock
	table string
	sql   statements
}

var _ state.Store = (*Store)(nil)

type statements struct{ create, insert, attempt, get, list, remove string }

func statementsFor(table string) statements {
	return statements{
		// External: what is sealed doesn't pack, so trying to costs time for nothing.
		create: `create table if not exists ` + table + ` (
			key text collate "C" primary key, data bytea not null, attempt text not null,
			created_at timestamptz not null default now());
			alter table ` + table + ` alter column data set storage external`,
		insert:  `insert into ` + table + ` (key, data, attempt) values ($1, $2, $3) on conflict (key) do nothing`,
		attempt: `select attempt from ` + table + ` where key = $1`,
		get:     `select data from ` + table + ` where key = $1`,
		list:    `select key from ` + table + ` where key >= $1 and ($2 = '' or key < $2) order by key`,
		remove:  `delete from ` + table + ` where key = $1`,
	}
}

// Open connects to the database of a URL and makes the table where it is missing. Beside what libpq and pgxpool know
// the URL takes passwordfile, userfile and table.
func Open(ctx context.Context, address string, clk clock.WithTicker) (*Store, error) {
	settings, err := parse(address)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, settings.pool)
	if err != nil {
		return nil, fmt.Errorf("preparing connections: %w", err)
	}
	s := &Store{pool: pool, clock: clk, table: settings.table, sql: statementsFor(settings.table)}
	if err := s.setUp(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("preparing table %s: %w", settings.table, err)
	}
	return s, nil
}

// Close ends all connections.
func (s *Store) Close() { s.pool.Close() }

// setUp makes the table only when there is none: a user who may not create tables goes on with one that is there.
func (s *Store) setUp(ctx context.Context) error {
	return s.do(ctx, always, func(ctx context.Context) error {
		return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock($1)`, int64(setUpLock)); err != nil {
				return err
			}
			var exists bool
			if err := tx.QueryRow(ctx, `select to_regclass($1) is not null`, s.table).Scan(&exists); err != nil || exists {
				return err
			}
			_, err := tx.Exec(ctx, s.sql.create, pgx.QueryExecModeSimpleProtocol)
			return err
		})
	})
}

// Create implements state.Store.
func (s *Store) Create(ctx context.Context, key string, data []byte) error {
	if err := usable(ctx, key); err != nil {
		return err
	}
	if data == nil {
		data = []byte{} // nil would be NULL
	}
	attempt := rand.Text()
	created, tried := false, false
	err := s.do(ctx, always, func(ctx context.Context) error {
		tag, err := s.pool.Exec(ctx, s.sql.insert, escape(key), data, attempt)
		if created = tag.RowsAffected() == 1; err != nil || created || !tried {
			tried = true
			return err
		}
		created, err = s.wrote(ctx, key, attempt)
		return err
	})
	if err != nil {
		return fmt.Errorf("inserting: %w", err)
	}
	if !created {
		return state.ErrExists
	}
	return nil
}

// wrote tells whether the row is that of an attempt whose answer was lost.
func (s *Store) wrote(ctx context.Context, key, attempt string) (bool, error) {
	var found string
	err := s.pool.QueryRow(ctx, s.sql.attempt, escape(key)).Scan(&found)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	return found == attempt, err
}

// Get implements state.Store.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	if err := usable(ctx, key); err != nil {
		return nil, err
	}
	var data []byte
	err := s.do(ctx, always, func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, s.sql.get, escape(key)).Scan(&data)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, state.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("selecting: %w", err)
	}
	return data, nil
}

// List implements state.Store.
func (s *Store) List(ctx context.Context, prefix string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	from, to := bounds(prefix)
	var keys []string
	err := s.do(ctx, always, func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, s.sql.list, from, to)
		if err != nil {
			return err
		}
		keys, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing: %w", err)
	}
	for i, key := range keys {
		keys[i] = unescape(key)
	}
	keys = slices.DeleteFunc(keys, func(key string) bool { return !strings.HasPrefix(key, prefix) })
	slices.Sort(keys)
	return keys, nil
}

// Delete implements state.Store. It isn't repeated when it may have been done: by then the key may be somebody else's.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := usable(ctx, key); err != nil {
		return err
	}
	err := s.do(ctx, whenUndone, func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, s.sql.remove, escape(key))
		return err
	})
	if err != nil {
		return fmt.Errorf("deleting: %w", err)
	}
	return nil
}

// A text of PostgreSQL holds any character but NUL.
var (
	escaper   = strings.NewReplacer("%", "%25", "\x00", "%00")
	unescaper = strings.NewReplacer("%25", "%", "%00", "\x00")
)

func escape(key string) string   { return escaper.Replace(key) }
func unescape(key string) string { return unescaper.Replace(key) }

// bounds returns the range of keys that holds all those with a prefix; an empty end is none.
func bounds(prefix string) (from, to string) {
	from = escape(prefix)
	for !utf8.ValidString(from) {
		from = from[:len(from)-1]
	}
	for end := from; end != ""; {
		last, size := utf8.DecodeLastRuneInString(end)
		end = end[:len(end)-size]
		if last == surrogates-1 {
			return from, end + string(rune(surrogatesEnd))
		}
		if last < utf8.MaxRune {
			return from, end + string(last+1)
		}
	}
	return from, ""
}

// There are no characters between these two.
const surrogates, surrogatesEnd = 0xD800, 0xE000

func usable(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return state.CheckKey(key)
}
