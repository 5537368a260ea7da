package main

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/plumbline-dev/plumbline/state/store/open"
)

type flags struct {
	namespace     string
	listen        string
	metricsListen string
	tlsSecret     string
	serviceName   string
	controller    string
	store         string
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
	set.StringVar(&f.store, "store", "kube://", "where states are kept: kube:// (Secrets in the system namespace), "+
		"s3://, azblob://, gs://, postgres:// or file://; see docs/state.md")
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
	case strings.Count(f.controller, ":") != 1:
		return errors.New("--controller-service-account is needed, as namespace:name")
	}
	return open.Check(f.store)
}

// dnsNames are those by which a Service is reached.
func (f flags) dnsNames() []string {
	base := f.serviceName + "." + f.namespace
	return []string{f.serviceName, base, base + ".svc", base + ".svc.cluster.local"}
}
