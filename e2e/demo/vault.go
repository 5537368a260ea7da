package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/e2e/stage"
	"github.com/plumbline-dev/plumbline/e2e/vaultserver"
)

var (
	//go:embed vault.yaml
	withVault string
	//go:embed secret.yaml
	withSecret string
)

const (
	vaultRole = "terraform"
	lentPath  = "kubernetes/creds/" + stage.Account
	policy    = `path "` + lentPath + `" { capabilities = ["create", "update"] }`
)

// external: the Pods of a cluster elsewhere can't reach a Vault on this machine.
func external() bool { return os.Getenv("PLUMBLINE_KUBECONFIG") != "" }

// asked is the Workspace, with the credentials that can be had here.
func asked() string {
	if external() {
		return manifest + withSecret
	}
	return manifest + withVault
}

// lend starts a Vault whose kubernetes engine makes tokens of Terraform's ServiceAccount, and tells a RunnerClass of
// it.
func (d *demo) lend(ctx context.Context) (string, error) {
	if external() {
		return "Secret " + stage.Credentials + " with a token: Pods of that cluster can't reach a Vault on this machine",
			d.stage.Credentials(ctx, namespace)
	}
	var err error
	d.vault, err = vaultserver.Start(ctx, vaultserver.Options{
		Config: d.stage.Config, Namespace: namespace, Nodes: 1, Log: d.screen.log,
	})
	if err != nil {
		return "", err
	}
	writes := []vaultserver.Write{
		{Path: "sys/policies/acl/" + vaultRole, Data: vaultserver.Data{"policy": policy}},
		{Path: "auth/kubernetes/role/" + vaultRole, Data: vaultserver.Data{
			"bound_service_account_names": "default", "bound_service_account_namespaces": namespace,
			"audience": "vault", "token_policies": vaultRole, "token_ttl": "10m",
		}},
		{Path: "kubernetes/roles/" + stage.Account, Data: vaultserver.Data{
			"service_account_name": stage.Account, "allowed_kubernetes_namespaces": namespace, "token_default_ttl": "10m",
		}},
	}
	for _, w := range writes {
		d.screen.program("vault", "write", w.Path, "...")
	}
	if err := d.vault.WriteAll(ctx, writes...); err != nil {
		return "", err
	}
	return "Vault is at " + d.vault.Address + "; RunnerClass demo says so", d.makeClass(ctx)
}

// makeClass is the default class, and Vault.
func (d *demo) makeClass(ctx context.Context) error {
	var all v1alpha1.RunnerClassList
	if err := d.stage.Client.List(ctx, &all); err != nil {
		return fmt.Errorf("reading RunnerClasses: %w", err)
	}
	for _, class := range all.Items {
		if class.Annotations[v1alpha1.AnnotationDefaultClass] != "true" {
			continue
		}
		made := demoClass()
		made.Spec = class.Spec
		made.Spec.Vault = &v1alpha1.VaultServer{
			Address: d.vault.Address, AuthPath: "auth/kubernetes", Audience: "vault", Role: vaultRole,
			CABundle: string(d.vault.CA()),
		}
		if err := client.IgnoreNotFound(d.stage.Client.Delete(ctx, demoClass())); err != nil {
			return fmt.Errorf("removing a RunnerClass of before: %w", err)
		}
		return d.stage.Client.Create(ctx, made)
	}
	return errors.New("there is no default RunnerClass")
}

func demoClass() *v1alpha1.RunnerClass {
	return &v1alpha1.RunnerClass{ObjectMeta: metav1.ObjectMeta{Name: "demo"}}
}

// showLeases shows that what Vault has lent is back.
func (d *demo) showLeases(ctx context.Context) (string, error) {
	if d.vault == nil {
		return "nothing was lent: a static token in a Secret, as the cluster is elsewhere", nil
	}
	d.screen.program("vault", "list", "sys/leases/lookup/"+lentPath)
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	for {
		left, err := d.vault.Leases(ctx, lentPath)
		if err == nil && left == 0 {
			return "no lease is left in Vault", nil
		}
		select {
		case <-ctx.Done():
			return "", errors.Join(err, fmt.Errorf("%d leases are left", left))
		case <-time.After(time.Second):
		}
	}
}

// returnVault ends the Vault, and takes away what is not in the demo's namespace.
func (d *demo) returnVault(ctx context.Context) error {
	if d.vault == nil {
		return nil
	}
	err := d.vault.Stop()
	if !d.stage.Found() {
		return err
	}
	_, gone := d.stage.Kubectl.Run(ctx, append([]string{"delete", "--ignore-not-found", "runnerclass/demo"},
		vaultserver.Leftovers(namespace)...)...)
	return errors.Join(err, gone)
}

// program shows a command of another program than kubectl.
func (s *screen) program(words ...string) {
	s.line("   %s", s.style(cyan, "$ "+strings.Join(words, " ")))
}
