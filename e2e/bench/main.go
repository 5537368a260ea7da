// Command bench measures what a Run costs, against a bare Pod that runs init, plan, apply and output by hand: the same
// image, the same configuration, the same machine, by turns.
//
//	stage.Set --> film (every version of every Pod, Run and Workspace, with the time at which a watch brought it)
//	  single.go: bare Pod | new Workspace | no-change check, n times by turns   --> ratios of times
//	  batch.go:  20 bare Pods at once | 20 Workspaces at once                   --> ratios of makespan and CPU seconds
//	  writes.go: no-change checks on a quiet cluster                            --> the controller's API writes
//	  state.go:  a state through the service | straight into its store          --> ratios of times
//	--> report.go: text, and JSON with -o
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// options are the flags.
type options struct {
	samples, batch, rounds, checks int
	asIs                           bool
	only, output                   string
}

func main() {
	var o options
	flag.IntVar(&o.samples, "n", 7, "samples of each kind")
	flag.IntVar(&o.batch, "batch", 20, "how many at once; 0 leaves that out")
	flag.IntVar(&o.rounds, "rounds", 3, "how often so many at once")
	flag.IntVar(&o.checks, "checks", 5, "drift checks over which API writes are counted; 0 leaves that out")
	flag.StringVar(&o.only, "only", "", "measure this alone: runs, or state, which needs no cluster (Secrets do)")
	flag.BoolVar(&o.asIs, "as-is", false, "measure the Plumbline that is installed, and not this checkout's")
	flag.StringVar(&o.output, "o", "", "file for the figures as JSON")
	flag.Parse()
	log.SetLogger(logr.Discard()) // what goes wrong with a watch is seen by whoever awaits something of it
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := perform(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
