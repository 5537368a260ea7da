// Command cluster runs the local one-node Kubernetes that tests, the demo and development use.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage: cluster COMMAND

  up                            start the cluster, or find the one that runs
  down [--any]                  end it and remove every trace of it but its logs; with --any, also one
                                that another checkout started
  status                        what its components do
  load IMAGE.tar...             hand image archives to the node
  component stop|start|kill NAME
  logs NAME                     a component's log

PLUMBLINE_KUBECONFIG=FILE uses that cluster instead, and never touches it.`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}
