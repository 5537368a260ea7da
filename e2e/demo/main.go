// Command demo shows Plumbline's main job on a real cluster, step by step: a Workspace is applied, its outputs are in a
// Secret, what somebody edits by hand is corrected, a rerun is asked for, the Workspace is deleted and what it made is
// gone.
//
//	stage.Set --> step, step, ... (each does what a person would type, and watches for what should follow) --> table
//
// It exits with 0 only if every step was really observed, and leaves the machine and the cluster as it found them;
// KEEP=1 keeps them for trying things by hand.
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
	d := &demo{screen: newScreen(os.Stdout), keep: os.Getenv("KEEP") == "1"}
	if err := d.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}
