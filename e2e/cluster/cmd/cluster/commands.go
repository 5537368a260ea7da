package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/plumbline-dev/plumbline/e2e/cluster"
)

var options = cluster.Options{Log: say}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("no command given\n%s", usage)
	}
	switch args[0] {
	case "up":
		return up(ctx)
	case "down":
		return down(ctx, args[1:])
	case "serve": // how `up` starts the supervisor; not for people
		return cluster.Serve(ctx)
	case "status":
		return status(ctx)
	case "load":
		return load(ctx, args[1:])
	case "component":
		return component(ctx, args[1:])
	case "logs":
		return logs(ctx, args[1:])
	default:
		return fmt.Errorf("unknown command %q\n%s", args[0], usage)
	}
}

func up(ctx context.Context) error {
	c, err := cluster.Up(ctx, options)
	if err != nil {
		return err
	}
	say("export KUBECONFIG=%s", c.Kubeconfig())
	return nil
}

func down(ctx context.Context, args []string) error {
	if len(args) == 1 && args[0] == "--any" {
		return cluster.Evict(ctx, options)
	}
	return cluster.Down(ctx, options)
}

func status(ctx context.Context) error {
	c, err := cluster.Find(ctx)
	if err != nil {
		return err
	}
	list, err := c.Status(ctx)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "COMPONENT\tSTATE\tPID\tRESTARTS\tLAST EXIT")
	for _, s := range list {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\n", s.Name, s.State, s.PID, s.Restarts, s.LastExit)
	}
	return w.Flush()
}

func load(ctx context.Context, tars []string) error {
	if len(tars) == 0 {
		return errors.New("want load IMAGE.tar, one or more")
	}
	c, err := cluster.Find(ctx)
	if err != nil {
		return err
	}
	return c.Load(ctx, tars...)
}

func component(ctx context.Context, args []string) error {
	if len(args) != 2 {
		return errors.New("want component stop|start|kill NAME")
	}
	c, err := cluster.Find(ctx)
	if err != nil {
		return err
	}
	switch verb, name := args[0], args[1]; verb {
	case "stop":
		return c.StopComponent(ctx, name)
	case "start":
		return c.StartComponent(ctx, name)
	case "kill":
		return c.KillComponent(ctx, name)
	default:
		return fmt.Errorf("unknown verb %q: want stop, start or kill", verb)
	}
}

// logs works without a running cluster too: that is when they are read.
func logs(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("want logs NAME")
	}
	path, err := cluster.LogFile(args[0])
	if err != nil {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("reading the log: %w", err)
	}
	defer func() { _ = file.Close() }()
	if _, err := io.Copy(os.Stdout, file); err != nil {
		return err
	}
	return ctx.Err()
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
