//go:build integration

package v1alpha1_test

import (
	"strings"
	"testing"
)

func TestCredentialsAreValidated(t *testing.T) {
	vault := func(s string) string { return source + "credentials: [{name: c, vault: {" + s + "}}]" }
	token := func(s string) string { return source + "credentials: [{name: c, serviceAccountToken: {" + s + "}}]" }
	secret := func(s string) string {
		return source + "credentials: [{name: c, secretRef: {name: s, keys: {" + s + "}}}]"
	}
	const (
		one, path = "set exactly one of vault, secretRef, serviceAccountToken", "path is such as aws/creds/deployer"
		own       = "a name that Plumbline itself drives Terraform with"
		files     = "the names in files are those of files, without folders"
	)
	check(t, "Workspace", []row{
		{"from Vault", vault("path: aws/creds/deployer, env: {AWS_ACCESS_KEY_ID: access_key}"), ""},
		{"with everything", vault("role: a.b-c_1, path: database/creds/a, method: Write, " +
			"parameters: {ttl: 15m, size: 2, list: [a]}, env: {_A1: f}, files: {.pgpass: f, a-b.json: f}, " +
			"variables: {a-b_1: f}"), ""},
		{"a Secret", source + "credentials: [{name: c, secretRef: {name: s}}]", ""},
		{"some keys of a Secret", secret("PGUSER: username, PGPASSWORD: pass.word"), ""},
		{"a key for a name that no environment variable has", secret("PG-USER: username"),
			"the names in keys are those of environment variables"},
		{"a key for a name of ours", secret("TF_LOG: level"), "keys has " + own},
		{"a variable by a key", secret("TF_VAR_a: b"), "keys has " + own},
		{"a key without a name", secret("A: ''"), "the values in keys are keys of the Secret"},
		{"a token", token("audience: sts.amazonaws.com, env: AWS_WEB_IDENTITY_TOKEN_FILE"), ""},
		{"a token of a day", token("audience: a, env: A, expirationSeconds: 86400"), ""},
		{"two kinds", source + "credentials: [{name: c, secretRef: {name: s}, vault: {path: a, env: {A: b}}}]", one},
		{"two other kinds",
			source + "credentials: [{name: c, secretRef: {name: s}, serviceAccountToken: {audience: a, env: A}}]", one},
		{"without a path", vault("env: {A: b}"), "spec.credentials[0].vault.path"},
		{"for nothing", vault("path: a/b"), "set at least one of env, files, variables"},
		{"for empty maps", vault("path: a/b, env: {}, files: {}"), "set at least one of env, files, variables"},
		{"a path with v1", vault("path: v1/aws/creds/a, env: {A: b}"), "path does not begin with v1/"},
		{"a path from the root", vault("path: /aws/creds/a, env: {A: b}"), path},
		{"a path as of a folder", vault("path: aws/creds/, env: {A: b}"), path},
		{"a path upwards", vault("path: aws/../sys, env: {A: b}"), path},
		{"a path with a query", vault("path: 'aws/creds/a?ttl=1h', env: {A: b}"), path},
		{"a path with a space", vault("path: 'aws/creds/a b', env: {A: b}"), path},
		{"a role that is none", vault("role: 'a/b', path: a, env: {A: b}"), "role is the name of a role"},
		{"a method that is none", vault("path: a, method: List, env: {A: b}"), "spec.credentials[0].vault.method"},
		{"a name that no environment variable has", vault("path: a, env: {AWS-KEY: b}"),
			"the names in env are those of environment variables"},
		{"a digit first", vault("path: a, env: {1A: b}"), "the names in env are those of environment variables"},
		{"a variable by the back door", vault("path: a, env: {TF_VAR_a: b}"), "instead of a TF_VAR_ in env set variables"},
		{"another state", vault("path: a, env: {TF_HTTP_ADDRESS: b}"), own},
		{"other arguments", vault("path: a, env: {TF_CLI_ARGS_plan: b}"), own},
		{"a log with everything in it", vault("path: a, env: {TF_LOG: b}"), own},
		{"an environment variable of no field", vault("path: a, env: {A: ''}"), "the values in env are names of fields"},
		{"a file in a folder", vault("path: a, files: {a/b: c}"), files},
		{"a file upwards", vault("path: a, files: {'..': c}"), files},
		{"a long file name", vault("path: a, files: {" + strings.Repeat("a", 129) + ": c}"), files},
		{"a name that no variable has", vault("path: a, variables: {a.b: c}"),
			"the names in variables are those of Terraform's variables"},
		{"a token for nobody", token("env: A"), "audience"},
		{"a token that nobody finds", token("audience: a"), "env"},
		{"a token in a name that is none", token("audience: a, env: A-B"), "env is an environment variable's name"},
		{"a token in a name of ours", token("audience: a, env: TF_DATA_DIR"), "none that Plumbline itself drives"},
		{"a token that ends at once", token("audience: a, env: A, expirationSeconds: 60"), "greater than or equal to 600"},
	})
}

func TestVaultServerIsValidated(t *testing.T) {
	vault := func(s string) string { return "image: x\nvault: {" + s + "}" }
	check(t, "RunnerClass", []row{
		{"an address is enough", vault("address: 'https://vault.vault:8200'"), ""},
		{"everything", vault("address: 'http://bao:8200/prefix', authPath: auth/jwt/cluster-a, audience: vault, " +
			"namespace: team, role: r, revokerRole: q, caBundle: x, margin: 2m"), ""},
		{"no address", vault("role: r"), "spec.vault.address"},
		{"no URL", vault("address: vault"), "spec.vault.address"},
		{"a URL with a password in it", vault("address: 'https://a:b@vault'"), "spec.vault.address"},
		{"an auth path that is none", vault("address: 'https://v', authPath: kubernetes"), "spec.vault.authPath"},
		{"a margin that is none", vault("address: 'https://v', margin: soon"), "margin is a duration"},
	})
}
