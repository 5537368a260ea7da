package main

import (
	"context"
	"crypto/tls"
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
	"github.com/plumbline-dev/plumbline/state/store/open"
)

const (
	sweepEvery = time.Hour
	// sweepAge is far longer than any write takes.
	sweepAge = 2 * time.Hour
	// startRetry is how long to wait when the API server or the store is away at the start.
	startRetry = 2 * time.Second
	// startPatience is for how long a store is waited for. Then the process ends and says why, which is seen on its Pod;
	// the next one tries again.
	startPatience = 5 * time.Minute
	// proveTimeout is for a few small requests.
	proveTimeout = time.Minute
	// servicePort is the Service's, by which the API server reaches all state servers.
	servicePort = 8443
)

func run(ctx context.Context, args []string) error {
	f, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := obeyMemoryLimit(); err != nil {
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
		DNSNames: f.dnsNames(), Foreign: f.tlsForeign, Clock: clk, Log: log,
	})
	if err := loadCerts(ctx, certs, clk, log); err != nil {
		return err
	}
	store, err := openStore(ctx, f.store, open.Options{Client: c, Namespace: f.namespace, Clock: clk}, log)
	if err != nil {
		return err
	}
	sealed, storeID, err := openSealed(ctx, f.sealing(c, store, log), f.which(c))
	if err != nil {
		return err
	}
	cluster := server.NewCluster(c, clk, f.controller)
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	service := state.New(state.Options{
		Store: sealed, Pods: cluster, Clock: clk, Log: log, KeepVersions: f.keepVersions, KeepAge: f.keepAge,
		KeepDeleted: f.keepDeleted,
		StoreID:     storeID, Installation: f.namespace, Metrics: metrics,
	})
	serving := server.Options{
		Service: service, Gate: cluster, Reports: cluster, Clock: clk, Log: log, Metrics: metrics,
		// Whatever the log's level, the audit is complete.
		Audit: slog.New(slog.NewJSONHandler(os.Stdout, nil)),
	}
	tlsConfig, leave := certs.TLS(), func() {}
	if f.registerAPI {
		serving.FrontProxy, serving.People = server.NewFrontProxy(c, clk), cluster
		tlsConfig.ClientAuth = tls.RequestClientCert // who it is, the front proxy's check finds out
		leave = register(ctx, f, server.Registration{Client: c, Front: serving.FrontProxy, Clock: clk, Log: log})
	}
	go certs.Keep(ctx)
	go sealed.Keep(ctx)
	go service.Maintain(ctx)
	chores := []state.Chore{service.TidyVersions(), service.TidyArchive(f.keepArchive), service.TidyDeleted()}
	if s, ok := store.(sweeper); ok {
		chores = append(chores, tidyPieces(s, clk, log))
	}
	go service.Sweep(ctx, chores...)
	log.InfoContext(ctx, "serving", "listen", f.listen, "namespace", f.namespace, "store", storeID)
	defer leave()
	return server.New(serving).Serve(ctx,
		server.ListenOptions{API: api, TLS: tlsConfig, Metrics: side, Gather: metrics})
}

// register has the API server pass on what people ask, until ctx ends or what it returns is called.
func register(ctx context.Context, f flags, r server.Registration) func() {
	r.Service = client.ObjectKey{Namespace: f.namespace, Name: f.serviceName}
	r.Secret = client.ObjectKey{Namespace: f.namespace, Name: f.tlsSecret}
	r.Port, r.Pod, r.Owner, r.CAFile = servicePort, f.podName, f.apiOwner, f.apiCAFile
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		server.NewRegistrar(r).Keep(ctx)
	}()
	return func() {
		stop()
		<-ended
	}
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

// openStore opens and proves the store. It waits for one that is away rather than crash, but not for one that is
// unfit or none at all, and not for ever: what looks away may be refused for good, as by a bucket's policy.
func openStore(ctx context.Context, address string, o open.Options, log *slog.Logger) (state.Store, error) {
	for began := o.Clock.Now(); ; {
		store, err := openProven(ctx, address, o)
		if err == nil || ctx.Err() != nil || errors.Is(err, state.ErrUnfit) || errors.Is(err, open.ErrURL) {
			return store, err
		}
		waited := o.Clock.Since(began)
		if waited >= startPatience {
			return nil, fmt.Errorf("the store can't be used, and was tried for %s: %w", waited.Round(time.Second), err)
		}
		log.WarnContext(ctx, "the store does not answer yet; trying again", "error", err,
			"givesUpIn", (startPatience - waited).Round(time.Second).String())
		select {
		case <-ctx.Done():
		case <-o.Clock.After(startRetry):
		}
	}
}

func openProven(ctx context.Context, address string, o open.Options) (state.Store, error) {
	store, err := open.Open(ctx, address, o)
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, proveTimeout)
	defer cancel()
	if err := state.Prove(bounded, store); err != nil {
		if s, ok := store.(interface{ Close() }); ok {
			s.Close()
		}
		return nil, fmt.Errorf("proving the store: %w", err)
	}
	return store, nil
}

// sweeper is a store in which writers that were killed leave something behind.
type sweeper interface {
	Sweep(ctx context.Context, before time.Time) (int, error)
}

// tidyPieces removes it.
func tidyPieces(store sweeper, clk clock.Clock, log *slog.Logger) state.Chore {
	return state.Chore{Name: "pieces", Every: sweepEvery, Do: func(ctx context.Context) error {
		n, err := store.Sweep(ctx, clk.Now().Add(-sweepAge))
		if n > 0 {
			log.InfoContext(ctx, "swept what unfinished writes have left", "pieces", n)
		}
		return err
	}}
}
