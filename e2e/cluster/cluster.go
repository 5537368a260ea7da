// Package cluster runs a real one-node Kubernetes on this machine, for tests, the demo and development: API server,
// controller manager, scheduler, kubelet, containerd, kube-proxy and DNS, built from source, without Docker and
// without a registry.
//
//	Up: preflight -> sweep leftovers -> keys, configuration, bridge -> supervisor (detached) -> components -> ready
//	Down: the supervisor ends the components -> sweep
//
// There is one cluster per machine. What it leaves anywhere has fixed names (layout.go), so that a crashed one can be
// swept away without any record of it. With PLUMBLINE_KUBECONFIG set, that cluster is used and never touched.
package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/plumbline-dev/plumbline/e2e/cluster/supervise"
	"github.com/plumbline-dev/plumbline/internal/tools"
)

// ErrElsewhere says that another checkout's cluster runs on the machine.
var ErrElsewhere = errors.New("a cluster of another checkout runs on this machine")

// ErrNotOurs says that something was asked that can only be done to a cluster of this package.
var ErrNotOurs = errors.New("not possible with the cluster that PLUMBLINE_KUBECONFIG names")

// ErrDown says that no cluster runs.
var ErrDown = errors.New("no cluster runs: start one with `cluster up`")

// Options are what a caller may want to know on the way.
type Options struct {
	// Log takes a line per step; nil for silence.
	Log tools.Logf
}

// Cluster is a running cluster.
type Cluster struct {
	layout   layout
	bin      map[string]string
	external bool
}

// Kubeconfig is the path of a kubeconfig with all rights.
func (c *Cluster) Kubeconfig() string { return c.layout.kubeconfig() }

// Etcd is the address of the cluster's etcd, which asks nobody who they are.
func (c *Cluster) Etcd() string { return etcdURL }

// Load hands image archives to the node, as `docker save` or `buildah push` to docker-archive: write them.
func (c *Cluster) Load(ctx context.Context, tars ...string) error {
	if c.external {
		return fmt.Errorf("loading images: %w: push them to a registry of its own", ErrNotOurs)
	}
	return importImages(ctx, c.bin, tars...)
}

// StopComponent ends a component and keeps it ended until StartComponent.
func (c *Cluster) StopComponent(ctx context.Context, name string) error {
	return c.component(ctx, "stop", name)
}

// StartComponent starts a stopped component and waits until it serves.
func (c *Cluster) StartComponent(ctx context.Context, name string) error {
	return c.component(ctx, "start", name)
}

// KillComponent ends a component with SIGKILL; it comes back by itself.
func (c *Cluster) KillComponent(ctx context.Context, name string) error {
	return c.component(ctx, "kill", name)
}

func (c *Cluster) component(ctx context.Context, verb, name string) error {
	if c.external {
		return fmt.Errorf("%s of %s: %w", verb, name, ErrNotOurs)
	}
	return newControl().component(ctx, verb, name)
}

// Status lists the components; there are none to see of a cluster that PLUMBLINE_KUBECONFIG names.
func (c *Cluster) Status(ctx context.Context) ([]supervise.Status, error) {
	if c.external {
		return nil, nil
	}
	return newControl().status(ctx)
}

// LogFile is the path of a component's log; it stays when the cluster ends.
func LogFile(name string) (string, error) {
	l, err := here()
	return l.log(name), err
}

// Down ends the cluster and removes every trace of it but its logs.
func (c *Cluster) Down(ctx context.Context) error { return Down(ctx, Options{}) }

// Find returns the cluster that runs for this checkout.
func Find(ctx context.Context) (*Cluster, error) {
	l, err := here()
	if err != nil {
		return nil, err
	}
	if external() != "" {
		return &Cluster{layout: l, external: true}, nil
	}
	who, ok := running(ctx)
	if !ok {
		return nil, ErrDown
	}
	if who.Checkout != l.checkout {
		return nil, elsewhere(who)
	}
	bin, err := readBinaries()
	return &Cluster{layout: l, bin: bin}, err
}

func elsewhere(who owner) error {
	return fmt.Errorf("%w, %s: end it there, or from here with: go run ./e2e/cluster/cmd/cluster down --any",
		ErrElsewhere, who.Checkout)
}
