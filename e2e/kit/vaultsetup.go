package kit

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/plumbline-dev/plumbline/e2e/vaultserver"
)

const (
	// VaultRole may read everything that the tests keep in Vault.
	VaultRole    = "terraform"
	vaultRevoker = "plumbline"
	// Deployer is the ServiceAccount of a Space that Vault's kubernetes engine makes tokens of.
	Deployer = "deployer"
	// DatabaseGroup owns what Terraform keeps in the database, whoever of Vault's users put it there.
	DatabaseGroup = "states"
)

const readAll = `path "database/*" { capabilities = ["read"] }
path "secret/*" { capabilities = ["read"] }
path "kubernetes/creds/*" { capabilities = ["create", "update"] }
`

const revokeByAccessor = `path "auth/token/revoke-accessor" { capabilities = ["create", "update"] }
`

type data = vaultserver.Data

// setUp enables what the tests ask for.
func (v *Vault) setUp(ctx context.Context) error {
	folder, err := os.MkdirTemp("", "vault-audit-")
	if err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	v.audit = filepath.Join(folder, "audit.log")
	for _, sql := range []string{
		"create role " + DatabaseGroup, "create database states owner " + DatabaseGroup,
		"create role fixed login password 'first' in role " + DatabaseGroup,
	} {
		if err := v.Database.Exec(ctx, sql); err != nil {
			return fmt.Errorf("preparing the database: %w", err)
		}
	}
	pub, err := os.ReadFile(filepath.Join(filepath.Dir(v.kit.Cluster.Kubeconfig()), "pki", "serviceaccount.pub"))
	if err != nil {
		return fmt.Errorf("reading the API server's public key: %w", err)
	}
	if err := v.WriteAll(ctx, v.roles()...); err != nil {
		return err
	}
	return v.WriteAll(ctx, v.engines(string(pub))...)
}

// roles let any ServiceAccount in, and the controller's alone revoke.
func (v *Vault) roles() []vaultserver.Write {
	return []vaultserver.Write{
		{Path: "sys/audit/raw", Data: data{"type": "file", "options": data{"file_path": v.audit, "log_raw": "true"}}},
		{Path: "sys/policies/acl/" + VaultRole, Data: data{"policy": readAll}},
		{Path: "sys/policies/acl/" + vaultRevoker, Data: data{"policy": revokeByAccessor}},
		{Path: "auth/kubernetes/role/" + VaultRole, Data: data{
			"bound_service_account_names": "*", "bound_service_account_namespaces": "*", "audience": "vault",
			"token_policies": VaultRole, "token_max_ttl": "2h",
			// Less than any patience: a leader that goes in the middle of a revocation leaves the rest to the token's end.
			"token_ttl": "2m",
		}},
		{Path: "auth/kubernetes/role/" + vaultRevoker, Data: data{
			"bound_service_account_names": "plumbline-controller", "bound_service_account_namespaces": System,
			"audience": "vault", "token_policies": vaultRevoker, "token_ttl": "1m",
		}},
	}
}

// engines are the mounts beside those that make Vault and the cluster known to each other.
func (v *Vault) engines(pub string) []vaultserver.Write {
	return []vaultserver.Write{
		{Path: "sys/auth/jwt", Data: data{"type": "jwt"}},
		{Path: "auth/jwt/config", Data: data{"jwt_validation_pubkeys": pub}},
		{Path: "auth/jwt/role/" + VaultRole, Data: data{
			"role_type": "jwt", "user_claim": "sub", "bound_audiences": "vault", "token_policies": VaultRole,
			"token_ttl": "10m",
		}},
		{Path: "kubernetes/roles/" + Deployer, Data: data{
			"allowed_kubernetes_namespaces": "*", "service_account_name": Deployer, "token_default_ttl": "10m",
		}},
		{Path: "sys/mounts/secret", Data: data{"type": "kv", "options": data{"version": "2"}}},
		{Path: "sys/mounts/database", Data: data{"type": "database"}},
		{Path: "database/config/postgres", Data: data{
			"plugin_name":    "postgresql-database-plugin",
			"connection_url": "postgresql://{{username}}:{{password}}@" + v.Database.Host + "/postgres?sslmode=disable",
			"username":       "postgres", "password": v.Database.Password, "allowed_roles": "*",
		}},
		{Path: "database/static-roles/fixed", Data: data{
			"db_name": "postgres", "username": "fixed", "rotation_period": "24h",
		}},
	}
}

// databaseRole is one whose users own nothing themselves, so that each can go.
func databaseRole(ttl, longest time.Duration) data {
	return data{
		"db_name": "postgres",
		"creation_statements": `create role "{{name}}" login password '{{password}}' valid until '{{expiration}}' in role ` +
			DatabaseGroup,
		"revocation_statements": `drop role if exists "{{name}}"`,
		"default_ttl":           ttl.String(), "max_ttl": longest.String(),
	}
}
