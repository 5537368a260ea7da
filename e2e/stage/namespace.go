package stage

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Credentials names the Secret that a Workspace names in spec.credentials: every key is an environment variable of
// Terraform, and these are the ones that the kubectl provider reads.
const Credentials = "cluster-access"

// Account is the ServiceAccount whose token it holds.
const Account = "terraform"

// tokenLife outlasts the longest benchmark. The token is part of the Workspace's inputs: a new one is a change.
const tokenLife = 4 * time.Hour

// Identity are the kubectl commands that let Terraform make things in a namespace; Namespace runs them.
func Identity(namespace string) [][]string {
	return [][]string{
		{"create", "namespace", namespace},
		{"label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted"},
		{"create", "serviceaccount", Account, "-n", namespace},
		{
			"create", "rolebinding", Account, "-n", namespace,
			"--clusterrole=edit", "--serviceaccount=" + namespace + ":" + Account,
		},
	}
}

// Namespace makes a namespace with a ServiceAccount that may make things there. A leftover of the same name is removed
// first.
func (s *Stage) Namespace(ctx context.Context, name string) error {
	if err := s.Leave(ctx, name); err != nil {
		return err
	}
	for _, args := range Identity(name) {
		if _, err := s.Kubectl.Run(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// Credentials puts a token of that ServiceAccount into the Secret of that name.
func (s *Stage) Credentials(ctx context.Context, namespace string) error {
	ca, err := Await(ctx, s.Client, Wanted[*corev1.ConfigMap]{
		Object: &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "kube-root-ca.crt"}},
		List:   &corev1.ConfigMapList{},
		What:   "the cluster's CA in namespace " + namespace,
		Within: time.Minute,
		Met:    func(_ *corev1.ConfigMap, exists bool) bool { return exists },
	})
	if err != nil {
		return err
	}
	token, err := s.Kubectl.Run(ctx, "create", "token", Account, "-n", namespace, "--duration", tokenLife.String())
	if err != nil {
		return err
	}
	secret, err := json.Marshal(corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: Credentials},
		StringData: map[string]string{
			"KUBE_HOST":                 "https://kubernetes.default.svc",
			"KUBE_CLUSTER_CA_CERT_DATA": ca.Data["ca.crt"],
			"KUBE_TOKEN":                token,
			"KUBE_LOAD_CONFIG_FILE":     "false",
		},
	})
	if err != nil {
		return fmt.Errorf("encoding the credentials: %w", err)
	}
	_, err = s.Kubectl.Feed(ctx, string(secret), "create", "-f", "-") // not on the command line, where others could see it
	return err
}

// Leave removes a namespace. Its Workspaces go first, while their Runs can still get at what they made.
func (s *Stage) Leave(ctx context.Context, name string) error {
	there, err := s.exists(ctx, "namespace", name)
	if err != nil || !there {
		return err
	}
	if defined, err := s.exists(ctx, "crd/workspaces.plumbline.dev"); err != nil {
		return err
	} else if defined {
		if _, err := s.Kubectl.Run(ctx, "delete", "workspaces", "--all", "-n", name); err != nil {
			return err
		}
	}
	_, err = s.Kubectl.Run(ctx, "delete", "namespace", name, "--ignore-not-found")
	return err
}
