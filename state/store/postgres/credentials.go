package postgres

import (
	"cmp"
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
	attrs, err := target(query.Get(targetAttrs), u.Host)
	if err != nil {
		return settings{}, err
	}
	query.Set(targetAttrs, attrs)
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

const targetAttrs = "target_session_attrs"

// target says which of several servers is spoken to: the one that takes writes, unless told otherwise. A standby may
// answer with what was the newest a moment ago, and a Run that plans on an old state makes again what there is; the
// name of one server may lead to several as well.
func target(asked, hosts string) (string, error) {
	asked = cmp.Or(asked, os.Getenv("PGTARGETSESSIONATTRS"), "read-write")
	switch {
	case asked == "read-write", asked == "primary", asked == "any" && !strings.Contains(hosts, ","):
		return asked, nil
	}
	return "", fmt.Errorf("reading the URL of the database: %s=%s: a standby may answer with an old state; "+
		"read-write or primary is what states need", targetAttrs, asked)
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
