package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/server"
	"github.com/plumbline-dev/plumbline/state/store/kube"
)

const (
	sweepEvery = time.Hour
	// sweepAge is far longer than any write takes.
	sweepAge = 2 * time.Hour
	// startRetry is how long to wait when the API server is away at the start.
	startRetry = 2 * time.Second
)

func run(ctx context.Context, args []string) error {
	f, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{Level: f.logLevel}))
	c, err := connect(log)
	if err != nil {
		return err
	}
	return serve(ctx, f, c, log)
}

func connect(log *slog.Logger) (client.Client, error) {
	ctrl.SetLogger(logr.FromSlogHandler(log.Handler()))
	cfg, err := ctrl.GetConfig()
	if err != nil {
		return nil, fmt.Errorf("finding the API server: %w", err)
	}
	return server.NewKubeClient(cfg)
}

// openStore is where the flags' store is opened, for serving and for commands on keys.
func openStore(f flags, c client.Client) *kube.Store {
	return kube.New(c, f.namespace)
}

func serve(ctx context.Context, f flags, c client.Client, log *slog.Logger) error {
	clk := clock.RealClock{}
	api, err := (&net.ListenConfig{}).Listen(ctx, "tcp", f.listen)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	side, err := (&net.ListenConfig{}).Listen(ctx, "tcp", f.metricsListen)
	if err != nil {
		return fmt.Errorf("listening for metrics: %w", err)
	}
	certs := server.NewCerts(server.CertOptions{
		Client: c, Secret: client.ObjectKey{Namespace: f.namespace, Name: f.tlsSecret},
		DNSNames: f.dnsNames(), Clock: clk, Log: log,
	})
	if err := loadCerts(ctx, certs, clk, log); err != nil {
		return err
	}
	store := openStore(f, c)
	sealed, err := openSealed(ctx, f.sealing(c, store, log))
	if err != nil {
		return err
	}
	cluster := server.NewCluster(c, clk, f.controller)
	service := state.New(state.Options{
		Store: sealed, Pods: cluster, Clock: clk, Log: log, KeepVersions: f.keepVersions, KeepAge: f.keepAge,
	})
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	srv := server.New(server.Options{
		Service: service, Gate: cluster, Reports: cluster, Clock: clk, Log: log, Metrics: metrics,
		// Whatever the log's level, the audit is complete.
		Audit: slog.New(slog.NewJSONHandler(os.Stdout, nil)),
	})
	go certs.Keep(ctx)
	go sealed.Keep(ctx)
	go service.Maintain(ctx)
	go service.MaintainArchive(ctx, f.keepArchive)
	go sweep(ctx, store, clk, log)
	log.InfoContext(ctx, "serving", "listen", f.listen, "namespace", f.namespace)
	return srv.Serve(ctx, server.ListenOptions{API: api, TLS: certs.TLS(), Metrics: side, Gather: metrics})
}

// loadCerts waits for the API server rather than crash while it is away.
func loadCerts(ctx context.Context, certs *server.Certs, clk clock.Clock, log *slog.Logger) error {
	for {
		err := certs.Load(ctx)
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		log.WarnContext(ctx, "there is no certificate yet; trying again", "error", err)
		select {
		case <-ctx.Done():
		case <-clk.After(startRetry):
		}
	}
}

// sweep removes what writers that were killed have left behind, now and then.
func sweep(ctx context.Context, store *kube.Store, clk clock.Clock, log *slog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-clk.After(sweepEvery):
		}
		n, err := store.Sweep(ctx, clk.Now().Add(-sweepAge))
		if err != nil || n > 0 {
			log.InfoContext(ctx, "swept chunks of unfinished writes", "chunks", n, "error", err)
		}
	}
}
