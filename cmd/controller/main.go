// Command controller watches Workspaces and runs Terraform for them in short-lived Pods.
package main

import (
	"context"
	"log/slog"
	"os"
	_ "time/tzdata" // the image holds no time zones

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/plumbline-dev/plumbline/runner"
)

func main() {
	if err := start(ctrl.SetupSignalHandler(), os.Args[1:]); err != nil {
		slog.Error("controller ended", "error", err)
		os.Exit(1)
	}
}

func start(ctx context.Context, args []string) error {
	f, err := parse(args)
	if err != nil {
		return err
	}
	logger := logr.FromSlogHandler(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: f.logLevel}))
	ctrl.SetLogger(logger)
	klog.SetLogger(logger)

	cfg, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	// The API server's own fairness is the limit, not a guess made here.
	cfg.QPS = -1
	service := newStateService(f)
	f.options.State = service
	f.options.StateLocation = service.location
	f.options.Accessors = service
	if f.options.Vault, err = newVault(cfg, f); err != nil {
		return err
	}
	f.options.Clock = clock.RealClock{}
	f.options.Logger = logger
	manager, err := runner.NewManager(ctx, cfg, f.options)
	if err != nil {
		return err
	}
	return manager.Start(ctx)
}
