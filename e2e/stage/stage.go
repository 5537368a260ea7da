// Package stage prepares what the demo and the benchmark play on: a cluster with this checkout's Plumbline in it, and
// namespaces in which Terraform may make things.
//
//	Set: what is there already? --> install.Up --> Stage{Kubectl, Client}
//	Stage.Namespace: namespace, ServiceAccount, rights
//	Stage.Credentials: its token --> Secret for spec.credentials
//	Await: one object, watched until it is as wanted
//	Strike: takes away what Set brought and nothing else
package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/e2e/cluster"
	"github.com/plumbline-dev/plumbline/e2e/install"
	"github.com/plumbline-dev/plumbline/internal/tools"
	"github.com/plumbline-dev/plumbline/runner"
)

const unsetTimeout = time.Minute

// Stage is a cluster with Plumbline in it.
type Stage struct {
	Kubectl *Kubectl
	Client  client.WithWatch
	Config  *rest.Config
	// Cluster is what images can be loaded into.
	Cluster *cluster.Cluster

	log    tools.Logf
	before before
}

// before is what was there already.
type before struct{ cluster, definitions, plumbline bool }

// Set makes sure that there is a cluster with Plumbline in it, and notes what was there before.
func Set(ctx context.Context, log tools.Logf) (*Stage, error) {
	was, err := look(ctx, log)
	if err != nil {
		return nil, err
	}
	s, err := set(ctx, log)
	if err != nil {
		return nil, errors.Join(err, unset(context.WithoutCancel(ctx), was))
	}
	s.before = was
	return s, nil
}

func set(ctx context.Context, log tools.Logf) (*Stage, error) {
	c, err := install.Up(ctx, log)
	if err != nil {
		return nil, err
	}
	s, err := open(ctx, log, c.Kubeconfig())
	if err != nil {
		return nil, err
	}
	s.Cluster = c
	return s, nil
}

// unset ends a cluster that was started in vain.
func unset(ctx context.Context, was before) error {
	ctx, cancel := context.WithTimeout(ctx, unsetTimeout)
	defer cancel()
	if was.cluster {
		return nil
	}
	c, err := cluster.Find(ctx)
	if err != nil {
		return nil //nolint:nilerr // there is none to end
	}
	return c.Down(ctx)
}

// Find takes the cluster and the Plumbline in it as they are.
func Find(ctx context.Context, log tools.Logf) (*Stage, error) {
	c, err := cluster.Find(ctx)
	if err != nil {
		return nil, err
	}
	kubeconfig := c.Kubeconfig()
	if named := os.Getenv("PLUMBLINE_KUBECONFIG"); named != "" {
		kubeconfig = named
	}
	s, err := open(ctx, log, kubeconfig)
	if err != nil {
		return nil, err
	}
	s.Cluster, s.before = c, before{cluster: true, definitions: true, plumbline: true}
	return s, nil
}

// look tells what there is before anything is started. Of ours none may be running, or one that an interrupted test
// left with a part of it stopped: that is started again, to be asked.
func look(ctx context.Context, log tools.Logf) (before, error) {
	kubeconfig := os.Getenv("PLUMBLINE_KUBECONFIG")
	if kubeconfig == "" {
		if _, err := cluster.Find(ctx); errors.Is(err, cluster.ErrDown) {
			return before{}, nil
		}
		c, err := cluster.Up(ctx, cluster.Options{Log: log})
		if err != nil {
			return before{}, err
		}
		kubeconfig = c.Kubeconfig()
	}
	s, err := open(ctx, log, kubeconfig)
	if err != nil {
		return before{}, err
	}
	was := before{cluster: true}
	if was.definitions, err = s.exists(ctx, "crd/workspaces.plumbline.dev"); err != nil {
		return before{}, err
	}
	was.plumbline, err = s.exists(ctx, "deployments", "-n", install.Namespace, "-l", "app.kubernetes.io/name=plumbline")
	return was, err
}

func open(ctx context.Context, log tools.Logf, kubeconfig string) (*Stage, error) {
	binary, err := tools.Path(ctx, log, "kubernetes", "kubectl")
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	// What is measured is the cluster, and not this client's patience with it.
	config.QPS, config.Burst = 200, 400
	scheme, err := runner.Scheme()
	if err != nil {
		return nil, err
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	return &Stage{Kubectl: &Kubectl{binary: binary, kubeconfig: kubeconfig}, Client: c, Config: config, log: log}, nil
}

// Found tells whether the cluster was there before.
func (s *Stage) Found() bool { return s.before.cluster }

// Strike leaves the cluster as it was found. One that Set started is ended.
func (s *Stage) Strike(ctx context.Context) error {
	if !s.before.cluster {
		return s.Cluster.Down(ctx)
	}
	if s.before.plumbline {
		return nil
	}
	err := install.Remove(ctx, s.log, s.Kubectl.kubeconfig)
	if !s.before.definitions {
		_, deleted := s.Kubectl.Run(ctx, "delete", "namespace/"+install.Namespace,
			"crd/workspaces.plumbline.dev", "crd/runs.plumbline.dev", "crd/runnerclasses.plumbline.dev", "--ignore-not-found")
		err = errors.Join(err, deleted)
	}
	return err
}

func (s *Stage) exists(ctx context.Context, args ...string) (bool, error) {
	found, err := s.Kubectl.Run(ctx, append([]string{"get", "--ignore-not-found", "-o", "name"}, args...)...)
	return found != "", err
}
