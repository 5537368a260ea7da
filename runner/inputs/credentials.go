package inputs

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/runner/render"
)

// InvalidError says what of the spec is wrong that the API server could not know. It needs a person.
type InvalidError struct{ What string }

func (e *InvalidError) Error() string { return e.What }

func invalid(format string, args ...any) error { return &InvalidError{fmt.Sprintf(format, args...)} }

// credentials resolves what the Workspace's credentials ask for.
func (r resolver) credentials(ctx context.Context, in *render.Inputs) error {
	if err := clash(r.workspace.Spec); err != nil {
		return err
	}
	for _, c := range r.workspace.Spec.Credentials {
		switch {
		case c.Vault != nil:
			in.Vault = append(in.Vault, vaultRequest(c.Name, c.Vault))
		case c.ServiceAccountToken != nil:
			t := c.ServiceAccountToken
			in.Tokens = append(in.Tokens, job.Token{Name: c.Name, Audience: t.Audience, Env: t.Env})
		case c.SecretRef != nil:
			data, err := r.secretCredential(ctx, c)
			if err != nil {
				return err
			}
			in.Credentials = append(in.Credentials, render.Credential{Name: c.Name, Digest: digest(data)})
		}
	}
	return nil
}

// secretCredential is what a Secret gives, by environment variables if the spec chooses them.
func (r resolver) secretCredential(ctx context.Context, c v1alpha1.Credential) (map[string][]byte, error) {
	wantedBy := fmt.Sprintf("credential %q", c.Name)
	data, err := r.secret(ctx, c.SecretRef.Name, wantedBy)
	if err != nil || len(c.SecretRef.Keys) == 0 {
		return data, err
	}
	chosen := make(map[string][]byte, len(c.SecretRef.Keys))
	for _, variable := range slices.Sorted(maps.Keys(c.SecretRef.Keys)) {
		key := c.SecretRef.Keys[variable]
		value, ok := data[key]
		if !ok {
			return nil, missing("Secret %q has no key %q (%s)", c.SecretRef.Name, key, wantedBy)
		}
		chosen[variable] = value
	}
	return chosen, nil
}

func vaultRequest(name string, v *v1alpha1.VaultCredential) job.VaultRequest {
	request := job.VaultRequest{
		Name: name, Role: v.Role, Path: v.Path, Write: v.Method == v1alpha1.VaultWrite,
		Env: v.Env, Files: v.Files, Variables: v.Variables,
	}
	for parameter, value := range v.Parameters {
		if request.Parameters == nil {
			request.Parameters = make(map[string]json.RawMessage, len(v.Parameters))
		}
		request.Parameters[parameter] = value.Raw
	}
	return request
}

// clash finds a name that two credentials set, or a credential and spec.variables. The keys of Secrets that
// none are chosen of are not known here without reading them; the driver refuses those in the same words.
func clash(spec v1alpha1.WorkspaceSpec) error {
	set := claims{}
	for _, v := range spec.Variables {
		if err := set.add("spec.variables", "variable", v.Name); err != nil {
			return err
		}
	}
	for _, c := range spec.Credentials {
		source := "credential " + c.Name
		if t := c.ServiceAccountToken; t != nil {
			if err := set.add(source, "environment variable", t.Env); err != nil {
				return err
			}
		}
		for _, to := range named(c) {
			for _, name := range slices.Sorted(maps.Keys(to.names)) {
				if err := set.add(source, to.what, name); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// naming is one kind of names that a credential sets.
type naming struct {
	what  string
	names map[string]string
}

func named(c v1alpha1.Credential) []naming {
	switch {
	case c.Vault != nil:
		return []naming{{"environment variable", c.Vault.Env}, {"file", c.Vault.Files}, {"variable", c.Vault.Variables}}
	case c.SecretRef != nil:
		return []naming{{"environment variable", c.SecretRef.Keys}}
	}
	return nil
}

// claims are who sets what.
type claims map[[2]string]string

func (c claims) add(source, what, name string) error {
	key := [2]string{what, name}
	if other, taken := c[key]; taken {
		return invalid("%s %s comes from both %s and %s", what, name, other, source)
	}
	c[key] = source
	return nil
}

// CheckVault tells whether a Workspace's RunnerClass can give what the Workspace asks of Vault. What it returns is an
// *InvalidError: a person has to change the one or the other.
func CheckVault(w *v1alpha1.Workspace, class *v1alpha1.RunnerClass) error {
	for _, c := range w.Spec.Credentials {
		switch v := class.Spec.Vault; {
		case c.Vault == nil:
		case v == nil:
			return invalid("credential %s comes from Vault, and RunnerClass %q says nothing about Vault: "+
				"its spec.vault is not set", c.Name, class.Name)
		case c.Vault.Role == "" && v.Role == "":
			return invalid("credential %s names no role to log in to Vault with, and spec.vault.role of RunnerClass %q "+
				"is empty", c.Name, class.Name)
		case v.CABundle != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(v.CABundle)):
			return invalid("spec.vault.caBundle of RunnerClass %q holds no certificate in PEM", class.Name)
		}
	}
	return nil
}
