package inputs

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/internal/testkit"
)

// with adds a credential.
func with(w *testkit.WorkspaceBuilder, c v1alpha1.Credential) *testkit.WorkspaceBuilder {
	return w.With(func(w *v1alpha1.Workspace) { w.Spec.Credentials = append(w.Spec.Credentials, c) })
}

func token(name, env string) v1alpha1.Credential {
	return v1alpha1.Credential{Name: name, ServiceAccountToken: &v1alpha1.ServiceAccountToken{Audience: "sts", Env: env}}
}

func fromVault(name string, v v1alpha1.VaultCredential) v1alpha1.Credential {
	return v1alpha1.Credential{Name: name, Vault: &v}
}

func TestBundleAsksForCredentials(t *testing.T) {
	w := with(testkit.Workspace("a").Vault("cloud", "aws/creds/a"), fromVault("db", v1alpha1.VaultCredential{
		Role: "dba", Path: "database/creds/b", Method: v1alpha1.VaultWrite,
		Parameters: map[string]apiextensionsv1.JSON{"ttl": {Raw: []byte(`"15m"`)}},
		Files:      map[string]string{"f": "x"}, Variables: map[string]string{"v": "y"},
	}))
	b, err := Bundle(t.Context(), cluster(t), with(w, token("sts", "TOKEN_FILE")).Obj())
	if err != nil {
		t.Fatal(err)
	}
	got, err := job.ParseSpec(b.Data[job.SpecFile])
	if err != nil {
		t.Fatal(err)
	}
	want := []job.VaultRequest{
		{Name: "cloud", Path: "aws/creds/a", Env: map[string]string{"KEY": "key"}},
		{Name: "db", Role: "dba", Path: "database/creds/b", Write: true,
			Parameters: map[string]json.RawMessage{"ttl": json.RawMessage(`"15m"`)},
			Files:      map[string]string{"f": "x"}, Variables: map[string]string{"v": "y"}},
	}
	if diff := cmp.Diff(want, got.Vault); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]job.Token{{Name: "sts", Audience: "sts", Env: "TOKEN_FILE"}}, got.Tokens); diff != "" {
		t.Error(diff)
	}
}

// TestKeysChooseFromASecret: only what is chosen counts, is looked for, and is a change.
func TestKeysChooseFromASecret(t *testing.T) {
	chooses := func(keys map[string]string) *v1alpha1.Workspace {
		ref := &v1alpha1.SecretRef{Name: "db", Keys: keys}
		return with(testkit.Workspace("a"), v1alpha1.Credential{Name: "db", SecretRef: ref}).Obj()
	}
	digest := func(data, keys map[string]string) string {
		t.Helper()
		b, err := Bundle(t.Context(), cluster(t, testkit.Secret("db", data)), chooses(keys))
		if err != nil {
			t.Fatal(err)
		}
		return b.Digest
	}
	keys := map[string]string{"PGUSER": "user"}
	first := digest(map[string]string{"user": "a", "jdbc-uri": "x"}, keys)
	if digest(map[string]string{"user": "a", "jdbc-uri": "y", "z": ""}, keys) != first {
		t.Error("what isn't chosen is a change")
	}
	if digest(map[string]string{"user": "b"}, keys) == first {
		t.Error("what is chosen is no change")
	}
	if digest(map[string]string{"user": "a"}, map[string]string{"USER": "user"}) == first {
		t.Error("another environment variable is no change")
	}
	_, err := Bundle(t.Context(), cluster(t, testkit.Secret("db", nil)), chooses(keys))
	var missing *MissingError
	if want := `Secret "db" has no key "user" (credential "db")`; !errors.As(err, &missing) || missing.What != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestOneNameFromTwoSources: who loses would be a matter of luck.
func TestOneNameFromTwoSources(t *testing.T) {
	vault := func(name string, change func(*v1alpha1.VaultCredential)) v1alpha1.Credential {
		v := v1alpha1.VaultCredential{Path: "p"}
		change(&v)
		return fromVault(name, v)
	}
	env := func(v *v1alpha1.VaultCredential) { v.Env = map[string]string{"KEY": "k"} }
	file := func(v *v1alpha1.VaultCredential) { v.Files = map[string]string{"f": "k"} }
	variable := func(v *v1alpha1.VaultCredential) { v.Variables = map[string]string{"v": "k"} }
	for _, test := range []struct {
		name      string
		workspace *testkit.WorkspaceBuilder
		want      string
	}{
		{"an environment variable", with(testkit.Workspace("a").Vault("one", "p"), vault("two", env)),
			"environment variable KEY comes from both credential one and credential two"},
		{"with a token's", with(testkit.Workspace("a").Vault("one", "p"), token("two", "KEY")),
			"environment variable KEY comes from both credential one and credential two"},
		{"two tokens'", with(with(testkit.Workspace("a"), token("one", "F")), token("two", "F")),
			"environment variable F comes from both credential one and credential two"},
		{"a Secret's", with(testkit.Workspace("a").Vault("one", "p"), v1alpha1.Credential{Name: "two",
			SecretRef: &v1alpha1.SecretRef{Name: "s", Keys: map[string]string{"KEY": "k"}}}),
			"environment variable KEY comes from both credential one and credential two"},
		{"a file", with(with(testkit.Workspace("a"), vault("one", file)), vault("two", file)),
			"file f comes from both credential one and credential two"},
		{"a variable", with(with(testkit.Workspace("a"), vault("one", variable)), vault("two", variable)),
			"variable v comes from both credential one and credential two"},
		{"a variable of spec.variables", with(testkit.Workspace("a").Value("v", "1"), vault("one", variable)),
			"variable v comes from both spec.variables and credential one"},
		{"names of different kinds", with(with(testkit.Workspace("a").Value("KEY", "1"), vault("one", file)), vault("two",
			func(v *v1alpha1.VaultCredential) {
				v.Env, v.Variables = map[string]string{"f": "k"}, map[string]string{"f": "k"}
			})),
			""},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Bundle(t.Context(), cluster(t), test.workspace.Obj())
			checkInvalid(t, err, test.want)
		})
	}
}

func checkInvalid(t *testing.T, err error, want string) {
	t.Helper()
	var invalid *InvalidError
	switch {
	case want == "" && err != nil:
		t.Errorf("got %v", err)
	case want != "" && (!errors.As(err, &invalid) || invalid.What != want):
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestCheckVault(t *testing.T) {
	without := func(change func(*v1alpha1.VaultServer)) *v1alpha1.RunnerClass {
		c := testkit.VaultClass("std")
		change(c.Spec.Vault)
		return c
	}
	asks := testkit.Workspace("a").Vault("cloud", "aws/creds/a")
	for _, test := range []struct {
		name      string
		workspace *testkit.WorkspaceBuilder
		class     *v1alpha1.RunnerClass
		want      string
	}{
		{"the class knows Vault", asks, testkit.VaultClass("std"), ""},
		{"nothing is asked for", testkit.Workspace("a").Credential("c", "s"), testkit.Class("std"), ""},
		{"the class knows none", asks, testkit.Class("std"),
			`credential cloud comes from Vault, and RunnerClass "std" says nothing about Vault: its spec.vault is not set`},
		{"nobody names a role", asks, without(func(v *v1alpha1.VaultServer) { v.Role = "" }),
			`credential cloud names no role to log in to Vault with, and spec.vault.role of RunnerClass "std" is empty`},
		{"a CA that is none", asks, without(func(v *v1alpha1.VaultServer) { v.CABundle = "-----BEGIN" }),
			`spec.vault.caBundle of RunnerClass "std" holds no certificate in PEM`},
	} {
		t.Run(test.name, func(t *testing.T) {
			checkInvalid(t, CheckVault(test.workspace.Obj(), test.class), test.want)
		})
	}
}
