// Command install is what `make up` and `make down` do.
//
//	install up      a cluster with this checkout's Plumbline in it; prints the kubeconfig's path
//	install down    ends that cluster; from one that PLUMBLINE_KUBECONFIG names only Plumbline is removed
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/plumbline-dev/plumbline/e2e/cluster"
	"github.com/plumbline-dev/plumbline/e2e/install"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "install:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 || (args[0] != "up" && args[0] != "down") {
		return errors.New("usage: install up | down")
	}
	if args[0] == "up" {
		return up(ctx)
	}
	if kubeconfig := os.Getenv("PLUMBLINE_KUBECONFIG"); kubeconfig != "" {
		return install.Remove(ctx, say, kubeconfig)
	}
	return cluster.Down(ctx, cluster.Options{Log: say})
}

func up(ctx context.Context) error {
	c, err := install.Up(ctx, say)
	if err != nil {
		return err
	}
	fmt.Printf("export KUBECONFIG=%s\n", c.Kubeconfig())
	return nil
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
