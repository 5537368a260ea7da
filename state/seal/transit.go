package seal

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/openbao/openbao/api/v2"

	"github.com/plumbline-dev/plumbline/internal/vault"
)

// transitTimeout is for one use of the key. A server that is away longer is asked again by whoever needs the key.
const transitTimeout = 15 * time.Second

// revokeTimeout is for giving a token back, which ends by itself if it can't be.
const revokeTimeout = 5 * time.Second

// Transit is a key of the transit engine of Vault or OpenBao, as a tink.AEADWithContext. It logs in for each use, as
// the Pod: it is used at the start of a server and when the key ring changes.
type Transit struct {
	// Log gets lines on tries that fail; nil discards them.
	Log func(format string, args ...any)

	login vault.Config
	mount string
	key   string
	ca    string // file
}

// ErrTransitURL is returned for an address of a transit key that is none.
var ErrTransitURL = errors.New("the transit key's address is none")

// transitDefaults are the parameters of a transit key's address that may be left out.
var transitDefaults = map[string]string{
	"mount": "transit", "auth": "auth/kubernetes", "role": "plumbline-state", "namespace": "", "ca": "",
	"token": "/var/run/secrets/plumbline/vault/token",
}

// ParseTransit reads https://HOST:PORT/KEY?mount=transit&auth=auth/kubernetes&role=R&namespace=N&ca=FILE&token=FILE.
func ParseTransit(address string) (*Transit, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || u.User != nil {
		return nil, fmt.Errorf("%w: it looks like https://HOST:PORT/KEY?role=ROLE", ErrTransitURL)
	}
	t := &Transit{key: strings.Trim(u.Path, "/")}
	if t.key == "" || strings.Contains(t.key, "/") {
		return nil, fmt.Errorf("%w: its path is the name of the key, as in https://HOST:PORT/KEY", ErrTransitURL)
	}
	query := u.Query()
	value := func(name string) string {
		if v := query.Get(name); v != "" {
			return v
		}
		return transitDefaults[name]
	}
	for name := range query {
		if _, ok := transitDefaults[name]; !ok {
			return nil, fmt.Errorf("%w: there is no parameter %s", ErrTransitURL, name)
		}
	}
	t.mount, t.ca = strings.Trim(value("mount"), "/"), value("ca")
	t.login = vault.Config{
		Address: u.Scheme + "://" + u.Host, AuthPath: value("auth"), Role: value("role"),
		Namespace: value("namespace"), TokenFile: value("token"),
	}
	return t, nil
}

// EncryptWithContext implements tink.AEADWithContext.
func (t *Transit) EncryptWithContext(ctx context.Context, plaintext, bound []byte) ([]byte, error) {
	text, err := t.use(ctx, "encrypt", "ciphertext", map[string]any{
		"plaintext":       base64.StdEncoding.EncodeToString(plaintext),
		"associated_data": base64.StdEncoding.EncodeToString(bound),
	})
	return []byte(text), err
}

// DecryptWithContext implements tink.AEADWithContext.
func (t *Transit) DecryptWithContext(ctx context.Context, ciphertext, bound []byte) ([]byte, error) {
	text, err := t.use(ctx, "decrypt", "plaintext", map[string]any{
		"ciphertext": string(ciphertext), "associated_data": base64.StdEncoding.EncodeToString(bound),
	})
	if e, ok := errors.AsType[*vault.Error](err); ok && e.Reason == vault.Denied && e.Status == http.StatusBadRequest {
		// Another key, one that is gone, or a version of it that may not be used any more.
		return nil, fmt.Errorf("%w: %w", ErrWrongKey, err)
	}
	if err != nil {
		return nil, err
	}
	plaintext, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("decrypting: the answer is not in base64")
	}
	return plaintext, nil
}

// use logs in, calls, and gives the token back.
func (t *Transit) use(ctx context.Context, verb, field string, parameters map[string]any) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, transitTimeout)
	defer cancel()
	cfg := t.login
	cfg.Log = t.Log
	if t.ca != "" {
		var err error
		if cfg.CA, err = os.ReadFile(t.ca); err != nil { // anew, for it may be rotated
			return "", fmt.Errorf("reading Vault's CA: %w", err)
		}
	}
	client, err := vault.New(cfg)
	if err != nil {
		return "", err
	}
	defer client.Close()
	if _, err := client.Login(ctx); err != nil {
		return "", err
	}
	defer giveBack(ctx, client)
	secret, err := client.Write(ctx, t.mount+"/"+verb+"/"+t.key, parameters)
	if err != nil {
		return "", err
	}
	return fieldOf(secret, field)
}

// giveBack revokes a token that has done its work. One that can't be revoked ends by itself.
func giveBack(ctx context.Context, client *vault.Client) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeTimeout)
	defer cancel()
	_, _ = client.Write(ctx, "auth/token/revoke-self", map[string]any{})
}

func fieldOf(secret *api.Secret, field string) (string, error) {
	if secret != nil {
		if text, ok := secret.Data[field].(string); ok {
			return text, nil
		}
	}
	return "", fmt.Errorf("the answer of transit has no %s", field)
}
