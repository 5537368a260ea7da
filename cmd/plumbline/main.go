// Command plumbline is for people: the states, locks, logs and plans of Workspaces and Runs. It is a plugin of kubectl
// too, by the name kubectl-plumbline.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // every way to log in that kubeconfigs may name
	"k8s.io/utils/clock"

	"github.com/plumbline-dev/plumbline/cmd/plumbline/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	command := cli.New(os.Args[0], cli.Surroundings{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Clock: clock.RealClock{},
		Terminal: term.IsTerminal(int(os.Stdin.Fd())),
	})
	if err := command.ExecuteContext(ctx); err != nil {
		if ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "error:", cli.Explain(err))
		}
		os.Exit(1)
	}
}
