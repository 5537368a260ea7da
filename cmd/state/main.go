// Command plumbline-state keeps Terraform states, locks and outputs, and takes the results of Runs. See package state.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "plumbline-state:", err)
		os.Exit(1)
	}
}
