package main

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"

	"github.com/plumbline-dev/plumbline/runner"
)

type flags struct {
	options   runner.Options
	stateURL  string
	stateCA   string
	tokenFile string
	account   string
	logLevel  slog.Level
}

func parse(args []string) (flags, error) {
	var f flags
	set := flag.NewFlagSet("plumbline-controller", flag.ContinueOnError)
	set.StringVar(&f.options.Namespace, "namespace", os.Getenv("POD_NAMESPACE"), "the controller's own namespace")
	set.StringVar(&f.options.MetricsAddr, "metrics-bind-address", ":8080", "where /metrics is served")
	set.StringVar(&f.options.HealthAddr, "health-probe-bind-address", ":8081", "where /healthz and /readyz are served")
	set.BoolVar(&f.options.LeaderElect, "leader-elect", false, "let one of several controllers act")
	set.IntVar(&f.options.Concurrency, "concurrency", 8, "how many Workspaces are looked at side by side")
	set.StringVar(&f.stateURL, "state-url", "", "base URL of the state service, as runner Pods reach it")
	set.StringVar(&f.stateCA, "state-ca-file", "", "PEM bundle that the state service's certificate is checked against")
	set.StringVar(&f.tokenFile, "state-token-file", "", "token for the state service, audience plumbline-state")
	set.StringVar(&f.account, "service-account", os.Getenv("POD_SERVICE_ACCOUNT"),
		"the controller's own ServiceAccount, as which it logs in to Vault to revoke what lost Runs have left")
	set.TextVar(&f.logLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")
	if err := set.Parse(args); err != nil {
		return flags{}, fmt.Errorf("reading flags: %w", err)
	}
	for name, value := range map[string]string{
		"namespace": f.options.Namespace, "state-url": f.stateURL,
		"state-ca-file": f.stateCA, "state-token-file": f.tokenFile,
	} {
		if value == "" {
			return flags{}, errors.New("reading flags: --" + name + " is needed")
		}
	}
	return f, nil
}
