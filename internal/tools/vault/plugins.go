//go:build minimal

package builtinplugins

import (
	credKubernetes "github.com/hashicorp/vault-plugin-auth-kubernetes"
	logicalKubernetes "github.com/hashicorp/vault-plugin-secrets-kubernetes"
	dbPostgreSQL "github.com/hashicorp/vault/plugins/database/postgresql"
)

// extendAddonPlugins stands in for Vault's own of the same name (see internal/tools/catalog.go): what the tests ask for
// beyond a minimal Vault. All plugins that there are take the compiler more than twice as long.
func extendAddonPlugins(r *registry) {
	r.credentialBackends["kubernetes"] = credentialBackend{Factory: credKubernetes.Factory}
	r.logicalBackends["kubernetes"] = logicalBackend{Factory: logicalKubernetes.Factory}
	r.databasePlugins["postgresql-database-plugin"] = databasePlugin{Factory: dbPostgreSQL.New}
}
