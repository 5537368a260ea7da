package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/credentials"
)

const (
	// tokenSeconds is the shortest time that the API server makes a token for.
	tokenSeconds = 600
	// sessionLimit is the longest time that the controller's own login to Vault may live: it is revoked at once.
	sessionLimit = 10 * time.Minute
)

// vault revokes tokens as the controller's own ServiceAccount.
type vault struct {
	accounts corev1client.ServiceAccountInterface
	account  string
}

func newVault(cfg *rest.Config, f flags) (vault, error) {
	core, err := corev1client.NewForConfig(cfg)
	if err != nil {
		return vault{}, fmt.Errorf("making a client for tokens: %w", err)
	}
	return vault{core.ServiceAccounts(f.options.Namespace), f.account}, nil
}

// Revoke logs in, revokes the token with that accessor, and revokes its own.
func (v vault) Revoke(ctx context.Context, server v1alpha1.VaultServer, accessor string) error {
	token, err := v.token(ctx, server.Audience)
	if err != nil {
		return err
	}
	file, err := inMemory(token)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // nothing is written to it any more
	return credentials.RevokeAccessor(ctx, credentials.Config{
		Address: server.Address, AuthPath: server.AuthPath, Namespace: server.Namespace, Role: server.RevokerRole,
		CA: []byte(server.CABundle), TokenFile: file.Name(), MaxTTL: sessionLimit, Clock: clock.RealClock{},
		RetryDelay: time.Second,
	}, accessor)
}

func (v vault) token(ctx context.Context, audience string) (string, error) {
	if v.account == "" {
		return "", errors.New("the controller doesn't know its own ServiceAccount: --service-account is needed")
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences: []string{audience}, ExpirationSeconds: new(int64(tokenSeconds)),
	}}
	made, err := v.accounts.CreateToken(ctx, v.account, request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("making a token of ServiceAccount %q for Vault: %w", v.account, err)
	}
	return made.Status.Token, nil
}

// inMemory makes a file that is on no disk: the controller's has none that it could write to.
func inMemory(text string) (*os.File, error) {
	fd, err := unix.MemfdCreate("token", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("making a file in memory: %w", err)
	}
	file := os.NewFile(uintptr(fd), fmt.Sprintf("/proc/self/fd/%d", fd))
	if _, err := file.WriteString(text); err != nil {
		return nil, errors.Join(fmt.Errorf("writing a file in memory: %w", err), file.Close())
	}
	return file, nil
}
