package realservers

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/openbao/openbao/api/v2"
)

// vaultNode is one process of a Vault.
type vaultNode struct {
	id           int
	folder       string
	binary       string
	api, cluster string // host:port
	client       *api.Client
	mu           sync.Mutex
	process      *process
}

func newVaultClient(address string, ca []byte) (*api.Client, error) {
	cfg := api.NewConfig() // reads no environment
	cfg.Address, cfg.MaxRetries, cfg.Timeout = address, 0, vaultCallTimeout
	if err := cfg.ConfigureTLS(&api.TLSConfig{CACertBytes: ca}); err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	client, err := api.NewClient(cfg)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	return client, nil
}

func (n *vaultNode) address() string { return "https://" + n.api }

func (n *vaultNode) configure() error {
	config, err := json.Marshal(map[string]any{
		"storage": map[string]any{"raft": map[string]any{
			"path": filepath.Join(n.folder, "data"), "node_id": fmt.Sprint("node", n.id),
			// Elections in about a second, and joiners that vote at once.
			"performance_multiplier": "1", "autopilot_reconcile_interval": "500ms", "autopilot_update_interval": "500ms",
		}},
		"listener": map[string]any{"tcp": map[string]any{
			"address": n.api, "cluster_address": n.cluster,
			"tls_cert_file": filepath.Join(n.folder, "tls.crt"), "tls_key_file": filepath.Join(n.folder, "tls.key"),
		}},
		"api_addr": n.address(), "cluster_addr": "https://" + n.cluster,
		"disable_mlock": true, "log_level": "info",
		// OpenBao lets no call make an audit device otherwise; Vault passes over it.
		"unsafe_allow_api_audit_creation": true,
	})
	if err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}
	if err := os.WriteFile(filepath.Join(n.folder, "config.json"), config, 0o600); err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}
	return nil
}

// start runs the node until it answers; it is sealed then.
func (n *vaultNode) start(ctx context.Context) error {
	// The server outlives the call that starts it.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), n.binary, "server",
		"-config", filepath.Join(n.folder, "config.json"))
	p, err := start(n.folder, cmd)
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.process = p
	n.mu.Unlock()
	return p.await(ctx, func(ctx context.Context) bool {
		_, err := n.client.Sys().SealStatusWithContext(ctx)
		return err == nil
	})
}

// kill ends the process, if there is one; its data stay.
func (n *vaultNode) kill() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process == nil {
		return
	}
	_ = n.process.cmd.Process.Kill()
	<-n.process.done
	n.process = nil
}

// leads tells whether the node is up and the active one.
func (n *vaultNode) leads(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	health, err := n.client.Sys().HealthWithContext(ctx)
	return err == nil && health.Initialized && !health.Sealed && !health.Standby
}

// retry repeats a call until it succeeds: a node that has just come up, or looks for a leader, refuses for a moment.
func (n *vaultNode) retry(ctx context.Context, what string, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		err := call(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("node %d: %s: %w", n.id, what, err)
		case <-ticker.C:
		}
	}
}
