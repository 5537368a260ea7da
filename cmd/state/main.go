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
	if err := dispatch(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "plumbline-state:", err)
		os.Exit(1)
	}
}

func dispatch(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "keys":
			return keys(ctx, args[1:], os.Stdout)
		case "store":
			return storeCmd(ctx, args[1:])
		}
	}
	return run(ctx, args)
}
