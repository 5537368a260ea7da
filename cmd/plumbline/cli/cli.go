// Package cli is the command plumbline.
//
//	plumbline --kubeconfig--> API server --/apis/state.plumbline.dev--> state service: states, locks, the archive
//	                                    --/api/v1/.../pods/log--------> the log of a Run that goes on
//
// It has no rights and no secrets of its own: the API server knows who is asking, and RBAC what they may.
package cli

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"
)

// Surroundings are what a command reads and writes.
type Surroundings struct {
	In       io.Reader
	Out, Err io.Writer
	// Terminal tells that a person can be asked.
	Terminal bool
	Clock    clock.Clock
}

// tool is what all commands share.
type tool struct {
	Surroundings
	loading   *clientcmd.ClientConfigLoadingRules
	overrides clientcmd.ConfigOverrides
}

// New returns the command; program is the name that it was called by.
func New(program string, s Surroundings) *cobra.Command {
	t := &tool{Surroundings: s, loading: clientcmd.NewDefaultClientConfigLoadingRules()}
	root := &cobra.Command{
		Use:   "plumbline",
		Short: "States, locks, logs and plans of Plumbline's Workspaces",
		Long: "States, locks, logs and plans of Plumbline's Workspaces.\n\n" +
			"Everything is asked of the cluster that kubectl speaks to, as the same user; RBAC decides what you may.",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	if name := filepath.Base(program); strings.HasPrefix(name, "kubectl-") {
		root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl plumbline"}
	}
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	flags := root.PersistentFlags()
	flags.StringVar(&t.loading.ExplicitPath, "kubeconfig", "", "the kubeconfig to use")
	names := clientcmd.RecommendedConfigOverrideFlags("")
	clientcmd.BindOverrideFlags(&t.overrides, flags, names)
	for _, rare := range []string{"certificate-authority", "client-certificate", "client-key", "insecure-skip-tls-verify",
		"tls-server-name", "proxy-url", "disable-compression", "username", "password", "as-uid", "as-user-extra"} {
		_ = flags.MarkHidden(rare) // one that there is not needs no hiding
	}
	root.AddCommand(t.state(), t.status(), t.logs(), t.plan())
	return root
}

// session is the connection to one namespace.
type session struct {
	*tool
	rest      *rest.RESTClient
	namespace string
}

func (t *tool) connect() (*session, error) {
	config := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(t.loading, &t.overrides)
	namespace, _, err := config.Namespace()
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	cfg, err := config.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	cfg.UserAgent = "plumbline"
	cfg.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	client, err := rest.UnversionedRESTClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	return &session{tool: t, rest: client, namespace: namespace}, nil
}
