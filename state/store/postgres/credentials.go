package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

type settings struct {
	pool  *pgxpool.Config
	table string
}

// credentials are files that somebody else changes: the password of a static role, or user and password of a dynamic
// one. A file that isn't named leaves what the URL or the environment says.
type credentials struct{ userFile, passwordFile string }

func parse(address string) (settings, error) {
	u, err := url.Parse(address)
	if err != nil {
		return settings{}, errors.New("reading the URL of the database") // the error would repeat it
	}
	query := u.Query()
	take := func(parameter string) string {
		value := query.Get(parameter)
		query.Del(parameter)
		return value
	}
	files := credentials{userFile: take("userfile"), passwordFile: take("passwordfile")}
	table := take("table")
	if table == "" {
		table = defaultTable
	}
	limited := query.Has("pool_max_conns")
	u.RawQuery = query.Encode()
	pool, err := pgxpool.ParseConfig(u.String())
	if err != nil {
		return settings{}, fmt.Errorf("reading the URL of the database: %w", err)
	}
	if !limited {
		pool.MaxConns = maxConns
	}
	if pool.ConnConfig.ConnectTimeout == 0 {
		pool.ConnConfig.ConnectTimeout = connectTimeout
	}
	pool.PingTimeout = pingTimeout
	pool.BeforeConnect = files.apply
	pool.PrepareConn = files.stillMine
	return settings{pool: pool, table: pgx.Identifier(strings.Split(table, ".")).Sanitize()}, nil
}

// apply reads what the files say now.
func (c credentials) apply(_ context.Context, config *pgx.ConnConfig) error {
	user, err := read(c.userFile, config.User)
	if err != nil {
		return err
	}
	password, err := read(c.passwordFile, config.Password)
	if err != nil {
		return err
	}
	config.User, config.Password = user, password
	return nil
}

// stillMine tells whether a connection is that of the user of this moment: the one before is about to be dropped, and
// what it does then is denied. A changed password leaves connections that stand as they are.
func (c credentials) stillMine(_ context.Context, conn *pgx.Conn) (bool, error) {
	user, err := read(c.userFile, conn.Config().User)
	if err != nil {
		return true, nil //nolint:nilerr // a file that is being replaced says nothing against the connection
	}
	return user == conn.Config().User, nil
}

func read(file, otherwise string) (string, error) {
	if file == "" {
		return otherwise, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("reading the database's credentials: %w", err)
	}
	return strings.TrimRight(string(data), "\r\n"), nil
}
