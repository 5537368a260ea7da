package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/plumbline-dev/plumbline/internal/tools"
)

// There is one cluster per machine, so what the kernel knows by name has fixed names. That is also how leftovers of
// a crashed cluster are told from what belongs to others.
const (
	nodeName     = "plumbline"
	bridge       = "plumbline0"
	cgroup       = "plumbline"
	gateway      = "10.231.0.1"
	gatewayCIDR  = "10.231.0.1/20"
	podCIDR      = "10.231.0.0/20"
	serviceCIDR  = "10.232.0.0/20"
	apiServiceIP = "10.232.0.1"
	dnsServiceIP = "10.232.0.10"
	clusterZone  = "cluster.local"
	apiServer    = "https://" + gateway + ":6443"
	etcdURL      = "http://127.0.0.1:12379"
	etcdPeerURL  = "http://127.0.0.1:12380"
	pauseImage   = "plumbline.test/pause:1"
)

// runFolder is short, because the path of a socket may not have more than 107 characters.
const runFolder = "/run/plumbline"

// dataFolder holds what containers live on: it must lie on a file system that overlays can use.
const dataFolder = "/var/lib/plumbline"

// layout says where things are. Everything but the checkout's .cluster folder is the same for all checkouts.
type layout struct{ checkout string }

func here() (layout, error) {
	checkout, err := tools.Checkout()
	return layout{checkout: checkout}, err
}

func (l layout) state(parts ...string) string {
	return filepath.Join(append([]string{l.checkout, ".cluster"}, parts...)...)
}

func (l layout) kubeconfig() string           { return l.state("kubeconfig") }
func (l layout) pki(name string) string       { return l.state("pki", name) }
func (l layout) log(name string) string       { return l.state("logs", name+".log") }
func (l layout) kubectl() string              { return l.state("bin", "kubectl") }
func (l layout) supervisor() string           { return l.state("bin", "cluster") }
func (l layout) config(name string) string    { return l.state("config", name) }
func (l layout) kubeconfigOf(n string) string { return l.state("config", n+".kubeconfig") }

func run(parts ...string) string  { return filepath.Join(append([]string{runFolder}, parts...)...) }
func data(parts ...string) string { return filepath.Join(append([]string{dataFolder}, parts...)...) }

// completeFile tells a cluster that came up from one whose `up` was interrupted.
func completeFile() string     { return run("complete") }
func containerdSocket() string { return run("containerd.sock") }
func controlSocket() string    { return run("control.sock") }
func ownerFile() string        { return run("owner.json") }

func (l layout) makeFolders() error {
	folders := []string{
		l.state("pki"), l.state("logs"), l.state("config"), l.state("bin"),
		run(), run("cni"), data("etcd"), data("containerd"), data("kubelet"), data("pods"),
	}
	// The logs of the last cluster were kept until now.
	if err := os.RemoveAll(l.state("logs")); err != nil {
		return fmt.Errorf("removing old logs: %w", err)
	}
	for _, folder := range folders {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return fmt.Errorf("making folders: %w", err)
		}
	}
	return os.Chmod(l.state("pki"), 0o700)
}

// writeAll writes files by path, readable by their owner only: some hold keys.
func writeAll(files map[string]string) error {
	var errs []error
	for path, text := range files {
		errs = append(errs, os.WriteFile(path, []byte(text), 0o600))
	}
	return errors.Join(errs...)
}
