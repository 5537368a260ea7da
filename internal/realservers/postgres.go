package realservers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/jackc/pgx/v5"

	"github.com/plumbline-dev/plumbline/internal/tools"
)

// Postgres is a running server with its superuser's password.
type Postgres struct {
	Host     string
	Password string

	process *process
}

// Superuser is the one that can do all.
const Superuser = "postgres"

// StartPostgres makes a cluster of databases and starts its server, which asks everybody for a password.
func StartPostgres(ctx context.Context, log Logf) (*Postgres, error) {
	bin, err := postgresFolder(ctx, log)
	if err != nil {
		return nil, err
	}
	who, err := unprivileged()
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "postgres-")
	if err != nil {
		return nil, fmt.Errorf("making a folder: %w", err)
	}
	p := &Postgres{Password: "super-secret"}
	if err := p.start(ctx, bin, folder, who); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	return p, nil
}

func (p *Postgres) start(ctx context.Context, bin, folder string, who *syscall.SysProcAttr) error {
	passwords := filepath.Join(folder, "password")
	if err := os.WriteFile(passwords, []byte(p.Password), 0o600); err != nil {
		return fmt.Errorf("writing the password: %w", err)
	}
	if c := who.Credential; c != nil {
		err := errors.Join(os.Chown(folder, int(c.Uid), int(c.Gid)), os.Chown(passwords, int(c.Uid), int(c.Gid)))
		if err != nil {
			return fmt.Errorf("handing the folder over: %w", err)
		}
	}
	data := filepath.Join(folder, "data")
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", data, "-U", Superuser, "-A", "scram-sha-256",
		"--pwfile", passwords, "-E", "UTF8", "--locale", "C", "--no-sync")
	initdb.SysProcAttr, initdb.Dir = who, folder
	if output, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("running initdb: %w\n%s", err, output)
	}
	port, err := freePort(ctx)
	if err != nil {
		return err
	}
	p.Host = fmt.Sprintf("127.0.0.1:%d", port)
	// The server outlives the call that starts it.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), filepath.Join(bin, "postgres"), "-D", data,
		"-p", strconv.Itoa(port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=")
	cmd.SysProcAttr = who
	if p.process, err = start(folder, cmd); err != nil {
		return err
	}
	return p.process.await(ctx, func(ctx context.Context) bool { return p.Exec(ctx, "select 1") == nil })
}

// URL is how a user reaches the database "postgres"; an empty password leaves it out.
func (p *Postgres) URL(user, password string) string {
	if password != "" {
		user += ":" + password
	}
	return fmt.Sprintf("postgres://%s@%s/postgres?sslmode=disable", user, p.Host)
}

// Exec runs statements as the superuser.
func (p *Postgres) Exec(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, p.URL(Superuser, p.Password))
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	_, err = conn.PgConn().Exec(ctx, sql).ReadAll()
	return errors.Join(err, conn.Close(ctx))
}

// Stop ends the server, its sessions included, and removes its data.
func (p *Postgres) Stop() error { return p.process.stop(os.Interrupt) }

func postgresFolder(ctx context.Context, log Logf) (string, error) {
	find := func() string {
		found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
		if len(found) > 0 {
			return filepath.Dir(slices.Max(found))
		}
		if path, err := exec.LookPath("initdb"); err == nil {
			return filepath.Dir(path)
		}
		return ""
	}
	if folder := find(); folder != "" {
		return folder, nil
	}
	if err := tools.Debian(ctx, tools.Logf(log), "postgresql"); err != nil {
		return "", fmt.Errorf("finding PostgreSQL: %w", err)
	}
	if folder := find(); folder != "" {
		return folder, nil
	}
	return "", errors.New("finding PostgreSQL: there is no initdb")
}

// unprivileged is somebody else when this is root, whom PostgreSQL refuses.
func unprivileged() (*syscall.SysProcAttr, error) {
	if os.Geteuid() != 0 {
		return &syscall.SysProcAttr{}, nil
	}
	who, err := user.Lookup("postgres")
	if err != nil {
		who, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, fmt.Errorf("finding a user for PostgreSQL: %w", err)
	}
	uid, uidErr := strconv.ParseUint(who.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(who.Gid, 10, 32)
	if err := errors.Join(uidErr, gidErr); err != nil {
		return nil, fmt.Errorf("finding a user for PostgreSQL: %w", err)
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}
