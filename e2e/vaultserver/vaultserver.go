// Package vaultserver runs a real Vault beside a cluster of this machine and makes the two known to each other, as
// docs/credentials.md tells: Pods log in with their ServiceAccounts, and Vault makes tokens of ServiceAccounts.
//
//	Start: nodes on the address that Pods reach --> one address for all --> ServiceAccount of Vault's own
//	       --> auth/kubernetes, kubernetes/
//
// The end-to-end tests and the demo use it; more is set up by Write.
package vaultserver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/openbao/openbao/api/v2"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/plumbline-dev/plumbline/internal/realservers"
	"github.com/plumbline-dev/plumbline/internal/tools"
)

const (
	startTimeout = 10 * time.Minute // it is built first where it is not
	callTimeout  = time.Minute
	between      = 250 * time.Millisecond
)

// Options say which cluster the Vault is for.
type Options struct {
	Config *rest.Config
	// Namespace is where Vault's own ServiceAccount is made; it exists.
	Namespace string
	// Nodes are one or three.
	Nodes int
	Log   tools.Logf
}

// Server is a Vault of one node or three.
type Server struct {
	*realservers.Vault
	// Address is the one for all nodes, as a load balancer's.
	Address string

	options Options
	host    string
	token   string
	fronts  []*realservers.Front
}

// Data is what is written to a path.
type Data = map[string]any

// Start starts a Vault and makes it and the cluster known to each other. It lives until Stop, whatever becomes of ctx.
func Start(ctx context.Context, o Options) (*Server, error) {
	bounded, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	s := &Server{options: o}
	if err := s.start(bounded); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func (s *Server) start(ctx context.Context) error {
	var err error
	if s.host, err = hostOf(s.options.Config); err != nil {
		return err
	}
	s.Vault, err = realservers.StartVault(ctx, realservers.Logf(s.options.Log),
		realservers.VaultOptions{Listen: s.host, Nodes: s.options.Nodes})
	if err != nil {
		return err
	}
	var nodes []string
	for _, address := range s.Addresses() {
		nodes = append(nodes, strings.TrimPrefix(address, "https://"))
	}
	front, err := s.Front(ctx, nodes...)
	if err != nil {
		return err
	}
	s.Address = "https://" + front
	set, err := kubernetes.NewForConfig(s.options.Config)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	if s.token, err = account(ctx, set, s.options.Namespace); err != nil {
		return err
	}
	return s.introduce(ctx)
}

// Front makes servers of this machine reachable for Pods, by one address.
func (s *Server) Front(ctx context.Context, servers ...string) (string, error) {
	f, err := realservers.NewFront(ctx, s.host, servers...)
	if err != nil {
		return "", err
	}
	s.fronts = append(s.fronts, f)
	return f.Address, nil
}

// hostOf is the address of the machine by which Pods reach it: the API server's.
func hostOf(config *rest.Config) (string, error) {
	address, err := url.Parse(config.Host)
	if err != nil {
		return "", fmt.Errorf("finding the machine's address: %w", err)
	}
	host, _, err := net.SplitHostPort(address.Host)
	if err != nil {
		return "", fmt.Errorf("finding the machine's address: %w", err)
	}
	return host, nil
}

// introduce tells Vault of the cluster.
func (s *Server) introduce(ctx context.Context) error {
	cluster := Data{"kubernetes_host": s.options.Config.Host, "kubernetes_ca_cert": string(s.options.Config.CAData)}
	auth, engine := maps.Clone(cluster), maps.Clone(cluster)
	auth["token_reviewer_jwt"], engine["service_account_jwt"] = s.token, s.token
	return s.WriteAll(ctx,
		Write{"sys/auth/kubernetes", Data{"type": "kubernetes"}},
		Write{"auth/kubernetes/config", auth},
		Write{"sys/mounts/kubernetes", Data{"type": "kubernetes"}},
		Write{"kubernetes/config", engine})
}

// Write is one write to Vault.
type Write struct {
	Path string
	Data Data
}

// WriteAll writes as root, in order, each again while there is an election.
func (s *Server) WriteAll(ctx context.Context, all ...Write) error {
	for _, w := range all {
		_, err := s.Ask(ctx, func(ctx context.Context, c *api.Client) (*api.Secret, error) {
			return c.Logical().WriteWithContext(ctx, w.Path, w.Data)
		})
		if err != nil {
			return fmt.Errorf("writing to %s: %w", w.Path, err)
		}
	}
	return nil
}

// Ask does something as root, again while there is an election.
func (s *Server) Ask(
	ctx context.Context, do func(context.Context, *api.Client) (*api.Secret, error),
) (*api.Secret, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for {
		c, err := s.Client(ctx)
		if err == nil {
			var answer *api.Secret
			if answer, err = do(ctx, c); err == nil {
				return answer, nil
			}
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(err, ctx.Err())
		case <-time.After(between):
		}
	}
}

// Leases counts the leases below a path, such as database/creds/app.
func (s *Server) Leases(ctx context.Context, prefix string) (int, error) {
	answer, err := s.Ask(ctx, func(ctx context.Context, c *api.Client) (*api.Secret, error) {
		return c.Logical().ListWithContext(ctx, "sys/leases/lookup/"+prefix)
	})
	if err != nil || answer == nil {
		return 0, err
	}
	keys, _ := answer.Data["keys"].([]any)
	return len(keys), nil
}

// Stop ends it all.
func (s *Server) Stop() error {
	var errs []error
	for _, f := range s.fronts {
		errs = append(errs, f.Stop())
	}
	if s.Vault != nil {
		errs = append(errs, s.Vault.Stop())
	}
	return errors.Join(errs...)
}
