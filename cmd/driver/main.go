// Command driver is the entry point of a runner Pod: it runs Terraform for one Run. Its arguments are "run" and the
// JSON of job.Params.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/utils/clock"

	"github.com/plumbline-dev/plumbline/driver"
	"github.com/plumbline-dev/plumbline/driver/job"
)

func main() {
	if os.Getpid() == 1 {
		status, err := driver.Reap(os.Args, os.Environ())
		if err != nil {
			fmt.Fprintln(os.Stderr, errors.Join(err, driver.Refuse(driver.PodPaths(), err)))
		}
		os.Exit(status)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	driver.KeepOnWithoutOutput()
	if !run(ctx, os.Args[1:]) {
		os.Exit(1)
	}
}

// run tells whether the Run ended well; the Result says more.
func run(ctx context.Context, args []string) bool {
	paths := driver.PodPaths()
	params, err := parse(args)
	if err = errors.Join(err, driver.Harden()); err != nil {
		fmt.Fprintln(os.Stderr, errors.Join(err, driver.Refuse(paths, err)))
		return false
	}
	result := driver.Run(ctx, driver.Config{
		Params:     params,
		Paths:      paths,
		LookupEnv:  os.LookupEnv,
		Stdout:     os.Stdout,
		Clock:      clock.RealClock{},
		Login:      login,
		RetryDelay: time.Second,
		KillDelay:  8 * time.Second,
	})
	return result.Class.Succeeded()
}

func parse(args []string) (job.Params, error) {
	if len(args) != 2 || args[0] != "run" {
		return job.Params{}, errors.New("usage: plumbline-driver run '<params as JSON>'")
	}
	return job.ParseParams(args[1])
}
