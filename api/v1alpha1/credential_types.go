package v1alpha1

import (
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Credential is one set of credentials for Terraform. Exactly one of vault, secretRef and serviceAccountToken is set.
//
// +kubebuilder:validation:XValidation:rule="(has(self.vault) ? 1 : 0) + (has(self.secretRef) ? 1 : 0) + (has(self.serviceAccountToken) ? 1 : 0) == 1",message="set exactly one of vault, secretRef, serviceAccountToken"
type Credential struct {
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`
	Name string `json:"name"`
	// vault is read from Vault or OpenBao for each Run, lives as long as the Run and is revoked at its end.
	// +optional
	Vault *VaultCredential `json:"vault,omitempty"`
	// secretRef makes keys of a Secret environment variables: those that keys chooses, or else every key that can be the
	// name of one.
	// +optional
	SecretRef *SecretRef `json:"secretRef,omitempty"`
	// serviceAccountToken is a token of the Pod's ServiceAccount for somebody else, such as a cloud's STS.
	// +optional
	ServiceAccountToken *ServiceAccountToken `json:"serviceAccountToken,omitempty"`
}

// SecretRef names a Secret in the Workspace's namespace.
type SecretRef struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// keys of the Secret by the environment variables that they become. What isn't chosen is not mounted either.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.matches('^[A-Za-z_][A-Za-z0-9_]*$'))",message="the names in keys are those of environment variables: letters, digits and '_', not beginning with a digit"
	// +kubebuilder:validation:XValidation:rule="!self.exists(k, k.matches('^(TF_VAR_|TF_HTTP_|TF_CLI_|TF_DATA_DIR$|TF_WORKSPACE$|TF_INPUT$|TF_LOG|TF_REATTACH_PROVIDERS$|TF_APPEND_USER_AGENT$|TF_IN_AUTOMATION$|TF_DISABLE_PLUGIN_TLS$|TF_SKIP_PROVIDER_VERIFY$|TERRAFORM_CONFIG$|PLUMBLINE_CREDENTIALS$)'))",message="keys has a name that Plumbline itself drives Terraform with, such as TF_VAR_, TF_HTTP_, TF_CLI_, TF_LOG or TF_WORKSPACE"
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(self[k]) > 0 && size(self[k]) <= 253)",message="the values in keys are keys of the Secret, of 1 to 253 characters"
	Keys map[string]string `json:"keys,omitempty"`
}

// VaultMethod is how a path of Vault is asked.
//
// +kubebuilder:validation:Enum=Read;Write
type VaultMethod string

const (
	// VaultRead is an HTTP GET.
	VaultRead VaultMethod = "Read"
	// VaultWrite is an HTTP PUT with the parameters.
	VaultWrite VaultMethod = "Write"
)

// VaultCredential is one path of Vault, and where the fields of its answer go.
//
// +kubebuilder:validation:XValidation:rule="has(self.env) && size(self.env) > 0 || has(self.files) && size(self.files) > 0 || has(self.variables) && size(self.variables) > 0",message="say where the fields go: set at least one of env, files, variables"
type VaultCredential struct {
	// role of the auth mount to log in as; the RunnerClass's otherwise.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^([A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?)?$')",message="role is the name of a role of the auth mount: letters, digits, '_', '.' and '-'"
	Role string `json:"role,omitempty"`
	// path is what is asked, such as aws/creds/deployer, database/static-creds/app or secret/data/app.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^[^/?#%[:space:]]+(/[^/?#%[:space:]]+)*$') && !self.matches('(^|/)[.]{1,2}(/|$)')",message="path is such as aws/creds/deployer: without a slash at its ends, spaces, '?', '#', '%', '.' and '..'"
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('v1/')",message="path does not begin with v1/"
	Path string `json:"path"`
	// method is Read, or Write for paths that want parameters in a body.
	// +optional
	// +kubebuilder:default=Read
	Method VaultMethod `json:"method,omitempty"`
	// parameters of the request, with any JSON values.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	Parameters map[string]apiextensionsv1.JSON `json:"parameters,omitempty"`
	// env maps environment variables of Terraform to fields of the answer.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.matches('^[A-Za-z_][A-Za-z0-9_]*$'))",message="the names in env are those of environment variables: letters, digits and '_', not beginning with a digit"
	// +kubebuilder:validation:XValidation:rule="!self.exists(k, k.startsWith('TF_VAR_'))",message="instead of a TF_VAR_ in env set variables"
	// +kubebuilder:validation:XValidation:rule="!self.exists(k, k.matches('^(TF_HTTP_|TF_CLI_|TF_DATA_DIR$|TF_WORKSPACE$|TF_INPUT$|TF_LOG|TF_REATTACH_PROVIDERS$|TF_APPEND_USER_AGENT$|TF_IN_AUTOMATION$|TF_DISABLE_PLUGIN_TLS$|TF_SKIP_PROVIDER_VERIFY$|TERRAFORM_CONFIG$|PLUMBLINE_CREDENTIALS$)'))",message="env has a name that Plumbline itself drives Terraform with, such as TF_HTTP_, TF_CLI_, TF_LOG or TF_WORKSPACE"
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(self[k]) > 0 && size(self[k]) <= 253)",message="the values in env are names of fields, of 1 to 253 characters"
	Env map[string]string `json:"env,omitempty"`
	// files maps file names in the folder $PLUMBLINE_CREDENTIALS (/var/run/plumbline/credentials) to fields of the answer.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.matches('^[A-Za-z0-9_.-]{1,128}$') && !k.matches('^[.]{1,2}$'))",message="the names in files are those of files, without folders: letters, digits, '_', '.' and '-'"
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(self[k]) > 0 && size(self[k]) <= 253)",message="the values in files are names of fields, of 1 to 253 characters"
	Files map[string]string `json:"files,omitempty"`
	// variables maps variables of the root module to fields of the answer. They arrive as strings and are not evaluated.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.matches('^[A-Za-z_][A-Za-z0-9_-]{0,127}$'))",message="the names in variables are those of Terraform's variables: letters, digits, '_' and '-', not beginning with a digit"
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(self[k]) > 0 && size(self[k]) <= 253)",message="the values in variables are names of fields, of 1 to 253 characters"
	Variables map[string]string `json:"variables,omitempty"`
}

// ServiceAccountToken is a token of the Pod's ServiceAccount, in a file that the kubelet keeps fresh.
type ServiceAccountToken struct {
	// audience that the token is for.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Audience string `json:"audience"`
	// env is the environment variable of Terraform that holds the path of the token's file, such as
	// AWS_WEB_IDENTITY_TOKEN_FILE.
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z_][A-Za-z0-9_]*$') && !self.matches('^(TF_VAR_|TF_HTTP_|TF_CLI_|TF_DATA_DIR$|TF_WORKSPACE$|TF_INPUT$|TF_LOG|TERRAFORM_CONFIG$|PLUMBLINE_CREDENTIALS$)')",message="env is an environment variable's name (letters, digits and '_', not beginning with a digit), and none that Plumbline itself drives Terraform with"
	Env string `json:"env"`
	// expirationSeconds of the token; the kubelet replaces it long before.
	// +optional
	// +kubebuilder:default=3600
	// +kubebuilder:validation:Minimum=600
	// +kubebuilder:validation:Maximum=86400
	ExpirationSeconds int64 `json:"expirationSeconds,omitempty"`
}

// VaultServer says where Vault or OpenBao is, and how runner Pods log in.
type VaultServer struct {
	// address is the server's base URL.
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^https?://[^/?#@\s]+(/[^?#\s]*)?$`
	Address string `json:"address"`
	// authPath is the auth mount of the kind kubernetes or jwt.
	// +optional
	// +kubebuilder:default="auth/kubernetes"
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^auth/[^/?#%\s]+(/[^/?#%\s]+)*$`
	AuthPath string `json:"authPath,omitempty"`
	// audience of the ServiceAccount tokens that Pods log in with.
	// +optional
	// +kubebuilder:default=vault
	// +kubebuilder:validation:MaxLength=253
	Audience string `json:"audience,omitempty"`
	// namespace of Vault Enterprise or OpenBao.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Namespace string `json:"namespace,omitempty"`
	// role of the auth mount for credentials that name none.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Role string `json:"role,omitempty"`
	// caBundle is the PEM bundle that the server's certificate is checked against; the system's roots when empty.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	CABundle string `json:"caBundle,omitempty"`
	// revokerRole is the role of the auth mount that the controller logs in as, to revoke what a lost Run has left. When
	// empty it doesn't: then it ends by itself, at the Run's deadline.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	RevokerRole string `json:"revokerRole,omitempty"`
	// margin is how long before the end of credentials that can't be renewed Terraform is interrupted; 30s more than the
	// Run's timeouts.grace when empty.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(h|m|s|ms))+$') && duration(self) > duration('0s') && duration(self) <= duration('24h')",message="margin is a duration such as 90s or 1h30m, over 0 and at most 24h"
	Margin *metav1.Duration `json:"margin,omitempty"`
}

// UsesVault tells whether the Workspace asks for anything from Vault.
func (w *Workspace) UsesVault() bool {
	return slices.ContainsFunc(w.Spec.Credentials, func(c Credential) bool { return c.Vault != nil })
}
