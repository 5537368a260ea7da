package vaultserver

import (
	"context"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const (
	accountName = "vault"
	// tokenSeconds outlasts every suite.
	tokenSeconds = 4 * 3600
)

// account makes the ServiceAccount that Vault reviews tokens as, and makes tokens as, and returns a token of it. What
// goes with the namespace can be there already; the cluster's part is named after the namespace.
func account(ctx context.Context, set kubernetes.Interface, namespace string) (string, error) {
	accounts, rbac := set.CoreV1().ServiceAccounts(namespace), set.RbacV1()
	_, err := accounts.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: accountName}},
		metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return "", fmt.Errorf("making Vault's ServiceAccount: %w", err)
	}
	minter := minterOf(namespace)
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: minter}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"}, Verbs: []string{"create"}},
	}}
	_, err = rbac.ClusterRoles().Create(ctx, role, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return "", fmt.Errorf("making Vault's role: %w", err)
	}
	for name, role := range map[string]string{minter: minter, reviewerOf(namespace): "system:auth-delegator"} {
		binding := &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: accountName, Namespace: namespace}},
		}
		_, err := rbac.ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return "", fmt.Errorf("binding Vault's ServiceAccount: %w", err)
		}
	}
	token, err := accounts.CreateToken(ctx, accountName, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(tokenSeconds))},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("making Vault's token: %w", err)
	}
	return token.Status.Token, nil
}

func minterOf(namespace string) string   { return accountName + ":" + namespace }
func reviewerOf(namespace string) string { return minterOf(namespace) + ":reviewer" }

// Leftovers are what Start makes in the cluster outside the namespace, as kubectl names them.
func Leftovers(namespace string) []string {
	return []string{
		"clusterrole/" + minterOf(namespace),
		"clusterrolebinding/" + minterOf(namespace), "clusterrolebinding/" + reviewerOf(namespace),
	}
}
