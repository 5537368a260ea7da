package cluster

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

//go:embed manifests/*.yaml
var manifests embed.FS

const readyTimeout = 5 * time.Minute

// client speaks to the API server that a kubeconfig names.
func client(kubeconfig string) (kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	config.Timeout = 10 * time.Second
	return kubernetes.NewForConfig(config)
}

// applyManifests creates what a cluster has besides its components.
func applyManifests(ctx context.Context, l layout, bin map[string]string) error {
	files, err := manifests.ReadDir("manifests")
	if err != nil {
		return err
	}
	var all []string
	for _, file := range files {
		text, err := manifests.ReadFile("manifests/" + file.Name())
		if err != nil {
			return err
		}
		all = append(all, string(text))
	}
	_, err = command(ctx, strings.NewReader(strings.Join(all, "\n---\n")), filepath.Join(bin["kubernetes"], "kubectl"),
		"--kubeconfig", l.kubeconfig(), "apply", "--server-side", "--force-conflicts", "-f", "-")
	if err != nil {
		return fmt.Errorf("applying the cluster's own objects: %w", err)
	}
	return nil
}

func nodeIsReady(ctx context.Context, c kubernetes.Interface) error {
	node, err := c.CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("waiting for the node: %w", err)
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
			return nil
		}
	}
	return errors.New("waiting for the node: it is not Ready")
}

func defaultAccountExists(ctx context.Context, c kubernetes.Interface) error {
	_, err := c.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("waiting for the default ServiceAccount: %w", err)
	}
	return nil
}

// answers tells whether an API server answers at all; it is what can be asked of a cluster that isn't ours.
func answers(ctx context.Context, kubeconfig string) (string, error) {
	c, err := client(kubeconfig)
	if err != nil {
		return "", err
	}
	version, err := c.Discovery().ServerVersion()
	if err != nil {
		return "", fmt.Errorf("asking the API server: %w", err)
	}
	return version.GitVersion, ctx.Err()
}
