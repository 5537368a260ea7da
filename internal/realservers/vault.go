package realservers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/openbao/openbao/api/v2"
)

// VaultOptions say where a Vault listens and how many nodes it has.
type VaultOptions struct {
	// Listen is the IP address that the nodes listen on; 127.0.0.1 when empty. With a bridge's address Pods reach them.
	Listen string
	// Nodes are one or three; one when 0.
	Nodes int
	// DNSNames are names that the certificates are good for besides localhost and the address, such as a Service's.
	DNSNames []string
	// Dir is where data, certificates and logs are kept; a folder of its own, removed by Stop, when empty.
	Dir string
}

// Vault is a HashiCorp Vault of one node or three over raft, or whichever server PLUMBLINE_VAULT names: initialised,
// unsealed, with TLS by a CA of its own. Its nodes can be killed, sealed and started again one by one.
type Vault struct {
	RootToken string

	options VaultOptions
	folder  string // what Stop removes
	binary  string
	ca      *authority
	key     string // to unseal with
	nodes   []*vaultNode
}

// vaultCallTimeout is for one call to a node, which may hang in an election.
const vaultCallTimeout = 5 * time.Second

// StartVault starts all nodes, and returns when one leads and the others are voters that may take over.
func StartVault(ctx context.Context, log Logf, o VaultOptions) (*Vault, error) {
	binary, err := vaultBinary(ctx, log)
	if err != nil {
		return nil, err
	}
	v := &Vault{options: o, binary: binary}
	if v.options.Listen == "" {
		v.options.Listen = "127.0.0.1"
	}
	if v.options.Nodes == 0 {
		v.options.Nodes = 1
	}
	if v.options.Dir == "" {
		if v.options.Dir, err = os.MkdirTemp("", "vault-"); err != nil {
			return nil, fmt.Errorf("making a folder: %w", err)
		}
		v.folder = v.options.Dir
	}
	if err := v.start(ctx); err != nil {
		return nil, errors.Join(err, v.Stop())
	}
	return v, nil
}

func (v *Vault) start(ctx context.Context) error {
	var err error
	if v.ca, err = newAuthority(); err != nil {
		return err
	}
	for i := range v.options.Nodes {
		n, err := v.newNode(ctx, i)
		if err != nil {
			return err
		}
		v.nodes = append(v.nodes, n)
		if err := n.start(ctx); err != nil {
			return err
		}
	}
	if err := v.initialise(ctx); err != nil {
		return err
	}
	for _, n := range v.nodes[1:] {
		if err := v.join(ctx, n); err != nil {
			return err
		}
	}
	return v.awaitVoters(ctx)
}

func (v *Vault) initialise(ctx context.Context) error {
	answer, err := v.nodes[0].client.Sys().InitWithContext(ctx, &api.InitRequest{SecretShares: 1, SecretThreshold: 1})
	if err != nil {
		return fmt.Errorf("initialising: %w", err)
	}
	v.key, v.RootToken = answer.Keys[0], answer.RootToken
	for _, n := range v.nodes {
		n.client.SetToken(v.RootToken)
	}
	if err := v.Unseal(ctx, 0); err != nil {
		return err
	}
	if _, err := v.Leader(ctx); err != nil {
		return err
	}
	return v.nodes[0].retry(ctx, "making joiners voters at once", func(ctx context.Context) error {
		return v.nodes[0].client.Sys().PutRaftAutopilotConfigurationWithContext(ctx, &api.AutopilotConfig{
			LastContactThreshold: 10 * time.Second, MaxTrailingLogs: 1000, ServerStabilizationTime: time.Millisecond,
		})
	})
}

func (v *Vault) join(ctx context.Context, n *vaultNode) error {
	err := n.retry(ctx, "joining", func(ctx context.Context) error {
		_, err := n.client.Sys().RaftJoinWithContext(ctx, &api.RaftJoinRequest{
			LeaderAPIAddr: v.nodes[0].address(), LeaderCACert: string(v.ca.pem),
		})
		return err
	})
	if err != nil {
		return err
	}
	return v.Unseal(ctx, n.id)
}

// awaitVoters waits until each node may become the leader.
func (v *Vault) awaitVoters(ctx context.Context) error {
	return v.nodes[0].retry(ctx, "waiting for the voters", func(ctx context.Context) error {
		secret, err := v.nodes[0].client.Logical().ReadWithContext(ctx, "sys/storage/raft/configuration")
		if err != nil {
			return err
		}
		config, _ := secret.Data["config"].(map[string]any)
		servers, _ := config["servers"].([]any)
		voters := 0
		for _, s := range servers {
			if server, _ := s.(map[string]any); server["voter"] == true {
				voters++
			}
		}
		if voters < len(v.nodes) {
			return fmt.Errorf("%d of %d nodes are voters", voters, len(v.nodes))
		}
		return nil
	})
}

// Addresses are the nodes' URLs.
func (v *Vault) Addresses() []string {
	addresses := make([]string, len(v.nodes))
	for i, n := range v.nodes {
		addresses[i] = n.address()
	}
	return addresses
}

// CA is the certificate, as PEM, that the nodes' own are signed by.
func (v *Vault) CA() []byte { return slices.Clone(v.ca.pem) }

// Client speaks to the node that leads now, as root.
func (v *Vault) Client(ctx context.Context) (*api.Client, error) {
	leader, err := v.Leader(ctx)
	if err != nil {
		return nil, err
	}
	return v.nodes[leader].client, nil
}

// Leader returns the number of the node that leads, and waits while there is none.
func (v *Vault) Leader(ctx context.Context) (int, error) {
	leader := -1
	err := v.nodes[0].retry(ctx, "waiting for a leader", func(ctx context.Context) error {
		for _, n := range v.nodes {
			if n.leads(ctx) {
				leader = n.id
				return nil
			}
		}
		return errors.New("no node leads")
	})
	return leader, err
}

// StepDown makes the leader hand over to another node.
func (v *Vault) StepDown(ctx context.Context) error {
	client, err := v.Client(ctx)
	if err != nil {
		return err
	}
	if err := client.Sys().StepDownWithContext(ctx); err != nil {
		return fmt.Errorf("stepping down: %w", err)
	}
	return nil
}

// KillLeader kills the node that leads and returns its number.
func (v *Vault) KillLeader(ctx context.Context) (int, error) {
	leader, err := v.Leader(ctx)
	if err != nil {
		return 0, err
	}
	v.Kill(leader)
	return leader, nil
}

// Kill ends a node as a power cut would.
func (v *Vault) Kill(node int) { v.nodes[node].kill() }

// Restart starts a node that was killed, and unseals it.
func (v *Vault) Restart(ctx context.Context, node int) error {
	v.nodes[node].kill()
	if err := v.nodes[node].start(ctx); err != nil {
		return err
	}
	return v.Unseal(ctx, node)
}

// Seal seals a node; one that doesn't lead can't seal itself by a call, so it is started anew instead.
func (v *Vault) Seal(ctx context.Context, node int) error {
	n := v.nodes[node]
	if !n.leads(ctx) {
		n.kill()
		return n.start(ctx)
	}
	if err := n.client.Sys().SealWithContext(ctx); err != nil {
		return fmt.Errorf("sealing: %w", err)
	}
	return nil
}

// Unseal unseals a node.
func (v *Vault) Unseal(ctx context.Context, node int) error {
	n := v.nodes[node]
	return n.retry(ctx, "unsealing", func(ctx context.Context) error {
		status, err := n.client.Sys().UnsealWithContext(ctx, v.key)
		if err == nil && status.Sealed {
			err = errors.New("it is still sealed")
		}
		return err
	})
}

// Stop ends all nodes and removes their data.
func (v *Vault) Stop() error {
	for _, n := range v.nodes {
		n.kill()
	}
	if v.folder == "" {
		return nil
	}
	return os.RemoveAll(v.folder)
}

func (v *Vault) newNode(ctx context.Context, id int) (*vaultNode, error) {
	folder := filepath.Join(v.options.Dir, fmt.Sprintf("node%d", id))
	if err := os.MkdirAll(filepath.Join(folder, "data"), 0o700); err != nil {
		return nil, fmt.Errorf("making a folder: %w", err)
	}
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	cluster, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	host := v.options.Listen
	n := &vaultNode{
		id: id, folder: folder, binary: v.binary,
		api: net.JoinHostPort(host, fmt.Sprint(port)), cluster: net.JoinHostPort(host, fmt.Sprint(cluster)),
	}
	if err := v.ca.issue(folder, host, v.options.DNSNames); err != nil {
		return nil, err
	}
	if n.client, err = newVaultClient(n.address(), v.ca.pem); err != nil {
		return nil, err
	}
	return n, n.configure()
}
