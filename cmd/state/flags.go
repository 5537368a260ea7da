package main

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"
)

type flags struct {
	namespace     string
	listen        string
	metricsListen string
	tlsSecret     string
	serviceName   string
	controller    string
	store         string
	keepArchive   time.Duration
	logLevel      slog.Level
}

func parse(args []string) (flags, error) {
	var f flags
	set := flag.NewFlagSet("plumbline-state", flag.ContinueOnError)
	set.StringVar(&f.namespace, "namespace", os.Getenv("POD_NAMESPACE"), "the system namespace, where states are kept")
	set.StringVar(&f.listen, "listen", ":8443", "address of the API (TLS)")
	set.StringVar(&f.metricsListen, "metrics-listen", ":8080", "address of /metrics, /livez, /readyz and /healthz")
	set.StringVar(&f.tlsSecret, "tls-secret", "plumbline-state-tls", "Secret of the certificate; made when missing")
	set.StringVar(&f.serviceName, "service-name", "plumbline-state", "Service that the certificate is for")
	set.StringVar(&f.controller, "controller-service-account", "", "the controller's ServiceAccount, namespace:name")
	set.StringVar(&f.store, "store", "kube://", "where states are kept; kube:// is Secrets in the system namespace")
	set.DurationVar(&f.keepArchive, "keep-archive", 30*24*time.Hour, "age at which plans and logs of Runs are removed")
	set.TextVar(&f.logLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")
	if err := set.Parse(args); err != nil {
		return flags{}, fmt.Errorf("reading flags: %w", err)
	}
	return f, f.check()
}

func (f flags) check() error {
	switch {
	case f.namespace == "":
		return errors.New("--namespace or POD_NAMESPACE is needed")
	case f.store != "kube://":
		return fmt.Errorf("--store %q is not known: this release has kube://", f.store)
	case f.keepArchive < 24*time.Hour:
		return fmt.Errorf("--keep-archive %s is less than a day", f.keepArchive)
	case strings.Count(f.controller, ":") != 1:
		return errors.New("--controller-service-account is needed, as namespace:name")
	}
	return nil
}

// dnsNames are those by which a Service is reached.
func (f flags) dnsNames() []string {
	base := f.serviceName + "." + f.namespace
	return []string{f.serviceName, base, base + ".svc", base + ".svc.cluster.local"}
}
