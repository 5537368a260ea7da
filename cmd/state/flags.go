package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/seal"
	"github.com/plumbline-dev/plumbline/state/store/open"
)

type flags struct {
	namespace     string
	listen        string
	metricsListen string
	tlsSecret     string
	tlsForeign    bool
	serviceName   string
	controller    string
	store         string
	adoptStore    string
	keepArchive   time.Duration
	keepVersions  int
	keepAge       time.Duration
	keepDeleted   time.Duration
	sealSecret    string
	transit       *seal.Transit // nil without
	refuseBare    bool
	registerAPI   bool
	apiOwner      string
	apiCAFile     string
	podName       string
	logLevel      slog.Level
}

func parse(args []string) (flags, error) {
	f, err := parseAny(args)
	if err != nil {
		return flags{}, err
	}
	return f, f.check()
}

// parseKeys reads the flags of a command on keys, which serves nobody.
func parseKeys(args []string) (flags, error) {
	f, err := parseAny(args)
	if err != nil {
		return flags{}, err
	}
	f.controller = ":"
	return f, f.check()
}

// parseAny reads the flags of any command; more defines those that one has of its own.
func parseAny(args []string, more ...func(*flag.FlagSet)) (flags, error) {
	var f flags
	set := flag.NewFlagSet("plumbline-state", flag.ContinueOnError)
	set.StringVar(&f.namespace, "namespace", os.Getenv("POD_NAMESPACE"), "the system namespace, where states are kept")
	set.StringVar(&f.listen, "listen", ":8443", "address of the API (TLS)")
	set.StringVar(&f.metricsListen, "metrics-listen", ":8080", "address of /metrics, /livez, /readyz and /healthz")
	set.StringVar(&f.tlsSecret, "tls-secret", "plumbline-state-tls", "Secret of the certificate; made when missing")
	set.BoolVar(&f.tlsForeign, "tls-foreign", false,
		"wait for the certificate that somebody else (cert-manager, OpenShift, a person) puts there")
	set.StringVar(&f.serviceName, "service-name", "plumbline-state", "Service that the certificate is for")
	set.StringVar(&f.controller, "controller-service-account", "", "the controller's ServiceAccount, namespace:name")
	set.StringVar(&f.store, "store", cmp.Or(os.Getenv("PLUMBLINE_STORE"), "kube://"),
		"where states are kept: kube:// (Secrets in the system namespace), "+
			"s3://, azblob://, gs://, postgres:// or file://; see docs/state.md")
	set.StringVar(&f.adoptStore, "adopt-store", os.Getenv("PLUMBLINE_ADOPT_STORE"),
		"ID of a store that is to be used from now on, though the key ring was used with another one")
	set.DurationVar(&f.keepArchive, "keep-archive", 30*24*time.Hour, "age at which plans and logs of Runs are removed")
	set.IntVar(&f.keepVersions, "keep-versions", state.DefaultKeepVersions, "how many versions of each state are kept")
	set.DurationVar(&f.keepDeleted, "keep-deleted", 7*24*time.Hour,
		"for how long the states of a deleted Workspace can still be read and taken over; 0 is not at all")
	set.DurationVar(&f.keepAge, "keep-age", 0, "how long versions before the newest are kept at most; 0 is for ever")
	set.StringVar(&f.sealSecret, "seal-keys-secret",
		cmp.Or(os.Getenv("PLUMBLINE_SEAL_KEYS_SECRET"), "plumbline-state-keys"),
		"Secret of the key ring; made when missing and nothing is sealed yet")
	transit := set.String("seal-transit", os.Getenv("PLUMBLINE_SEAL_TRANSIT"),
		"key of Vault's transit engine that wraps the key ring, as https://HOST:PORT/KEY?role=ROLE; see docs/state.md")
	set.BoolVar(&f.refuseBare, "refuse-unsealed", false, "take what is not sealed for forged, once keys reseal has run")
	set.BoolVar(&f.registerAPI, "register-api", false, "serve people through the API server; see docs/people.md")
	set.StringVar(&f.apiOwner, "api-owner", "", "ClusterRole that the APIService goes with when all is uninstalled")
	set.StringVar(&f.apiCAFile, "api-ca-file", "", "PEM bundle for a certificate whose Secret has no ca.crt")
	set.StringVar(&f.podName, "pod-name", os.Getenv("POD_NAME"), "this server's Pod")
	set.TextVar(&f.logLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")
	for _, define := range more {
		define(set)
	}
	if err := set.Parse(args); err != nil {
		return flags{}, fmt.Errorf("reading flags: %w", err)
	}
	if *transit != "" {
		var err error
		if f.transit, err = seal.ParseTransit(*transit); err != nil {
			return flags{}, fmt.Errorf("reading --seal-transit: %w", err)
		}
	}
	return f, nil
}

func (f flags) check() error {
	if f.namespace == "" {
		return errors.New("--namespace or POD_NAMESPACE is needed")
	}
	if err := f.checkKept(); err != nil {
		return err
	}
	switch {
	case f.sealSecret == "":
		return errors.New("--seal-keys-secret is needed")
	case f.registerAPI && (f.apiOwner == "" || f.podName == ""):
		return errors.New("--register-api needs --api-owner and --pod-name")
	case strings.Count(f.controller, ":") != 1:
		return errors.New("--controller-service-account is needed, as namespace:name")
	}
	return open.Check(f.store)
}

// checkKept checks how much is kept, and for how long.
func (f flags) checkKept() error {
	switch {
	case f.keepVersions < 2 || f.keepVersions > state.MaxKeepVersions:
		return fmt.Errorf("--keep-versions %d is not between 2 and %d", f.keepVersions, state.MaxKeepVersions)
	case f.keepDeleted < 0:
		return fmt.Errorf("--keep-deleted %s is negative", f.keepDeleted)
	case f.keepAge < 0:
		return fmt.Errorf("--keep-age %s is negative", f.keepAge)
	case f.keepArchive < 24*time.Hour:
		return fmt.Errorf("--keep-archive %s is less than a day", f.keepArchive)
	}
	return nil
}

// dnsNames are those by which a Service is reached.
func (f flags) dnsNames() []string {
	base := f.serviceName + "." + f.namespace
	return []string{f.serviceName, base, base + ".svc", base + ".svc.cluster.local"}
}
