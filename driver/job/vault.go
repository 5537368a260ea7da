package job

import (
	"encoding/json"
	"time"
)

const (
	// VaultTokenFile is the Pod-bound token to log in to Vault with.
	VaultTokenFile = "/var/run/secrets/plumbline/vault/token"
	// TokensDir holds one folder for each serviceAccountToken, with the file TokenFile in it.
	TokensDir = "/var/run/secrets/plumbline/tokens"
	// TokenFile is the name of a token's file.
	TokenFile = "token"
	// GrantsDir is a volume in memory for what Vault has given: the folder GrantedFiles in it is for Terraform to read.
	GrantsDir = "/var/run/plumbline"
	// GrantedFiles is the folder of the files that Vault has given.
	GrantedFiles = GrantsDir + "/credentials"
	// CredentialsEnv is the environment variable that names that folder.
	CredentialsEnv = "PLUMBLINE_CREDENTIALS"
)

// PartAccessors is the JSON list of the accessors of a Run's Vault tokens, as the state service archives it. By an
// accessor its token can be revoked, and nothing be done that the token itself can do.
const PartAccessors = "accessors"

// Vault says how Vault is reached. What is read from it stands in the Spec.
type Vault struct {
	Address   string `json:"address"`
	AuthPath  string `json:"authPath"`
	Namespace string `json:"namespace,omitempty"`
	// Role is that of requests which name none.
	Role string `json:"role,omitempty"`
	// CA is a PEM bundle; empty for the system's roots.
	CA string `json:"ca,omitempty"`
	// Margin is how long before the end of credentials that can't be renewed Terraform is interrupted.
	Margin time.Duration `json:"margin"`
	// MaxTTL is the Run's deadline: nothing lives longer, whatever becomes of the driver.
	MaxTTL time.Duration `json:"maxTTL"`
}

// VaultRequest is one path of Vault, and where the fields of its answer go.
type VaultRequest struct {
	// Name is the credential's.
	Name       string                     `json:"name"`
	Role       string                     `json:"role,omitempty"`
	Path       string                     `json:"path"`
	Write      bool                       `json:"write,omitempty"`
	Parameters map[string]json.RawMessage `json:"parameters,omitempty"`
	// Env, Files and Variables map a name to a field of the answer.
	Env       map[string]string `json:"env,omitempty"`
	Files     map[string]string `json:"files,omitempty"`
	Variables map[string]string `json:"variables,omitempty"`
}

// Token is a token of the Pod's ServiceAccount below TokensDir.
type Token struct {
	// Name is the credential's, and its folder's.
	Name string `json:"name"`
	// Audience is what the token is for.
	Audience string `json:"audience"`
	// Env is the variable that holds the path of the token's file.
	Env string `json:"env"`
}

// Path is where the token's file is.
func (t Token) Path() string { return TokensDir + "/" + t.Name + "/" + TokenFile }
