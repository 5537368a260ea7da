package cluster

import (
	"context"
	"fmt"
	"os"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/plumbline-dev/plumbline/internal/tools"
)

// external is the kubeconfig of the cluster that someone named on purpose; empty when ours is meant.
func external() string { return os.Getenv("PLUMBLINE_KUBECONFIG") }

// adopt uses a cluster that someone named on purpose: it only has to answer.
func adopt(ctx context.Context, l layout, log tools.Logf) (*Cluster, error) {
	version, err := answers(ctx, external())
	if err != nil {
		return nil, fmt.Errorf("using the cluster that PLUMBLINE_KUBECONFIG names: %w", err)
	}
	text, err := standalone(external())
	if err != nil {
		return nil, fmt.Errorf("copying the kubeconfig: %w", err)
	}
	if err := os.MkdirAll(l.state(), 0o755); err != nil {
		return nil, fmt.Errorf("copying the kubeconfig: %w", err)
	}
	log("using the cluster that PLUMBLINE_KUBECONFIG names: Kubernetes %s", version)
	return &Cluster{layout: l, external: true}, writeAll(map[string]string{l.kubeconfig(): string(text)})
}

// standalone takes into the kubeconfig what it refers to by relative paths, so that a copy works anywhere.
func standalone(path string) ([]byte, error) {
	config, err := clientcmd.LoadFromFile(path)
	if err != nil {
		return nil, err
	}
	if err := clientcmd.ResolveLocalPaths(config); err != nil {
		return nil, err
	}
	if err := clientcmdapi.FlattenConfig(config); err != nil {
		return nil, err
	}
	return clientcmd.Write(*config)
}
