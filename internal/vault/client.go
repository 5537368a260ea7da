// Package vault is the patient client of Vault and OpenBao that the driver and the state service share: it logs in with
// a ServiceAccount's token at an auth mount kubernetes or jwt, repeats what a server refuses for the time being, and
// tells what will be refused for good.
//
//	call -> answer
//	     -> sealed, standby, leaderless, away --wait, another connection--> again, until the context ends: Unavailable
//	     -> not there, says one that may not know yet                   --> again, the same
//	     -> not there, says the leader twice                            --> Denied
//	     -> refused                                                     --> Denied, at once
package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/openbao/openbao/api/v2"

	"github.com/plumbline-dev/plumbline/internal/trust"
)

const (
	// firstTryLimit ends the first try of a call: a server that takes it and never answers must not use up all of the
	// time. Each further try has twice as long, since some engines are slow: they ask a cloud or a database.
	firstTryLimit = 8 * time.Second
	lastTryLimit  = time.Minute
	firstDelay    = 500 * time.Millisecond
	lastDelay     = 5 * time.Second
	// maxRefusals is how often a login may be refused without a reason, or answered without a token. The kubernetes
	// mount refuses so whatever is wrong with its TokenReview: a token that isn't good, and also an API server that
	// can't be asked for the moment.
	maxRefusals = 6
)

// Config says where Vault is, and as whom to log in.
type Config struct {
	// Address is the server's base URL.
	Address string
	// AuthPath is the auth mount, such as auth/kubernetes or auth/jwt.
	AuthPath string
	// Namespace of Vault Enterprise or OpenBao; empty for the root.
	Namespace string
	// Role of the auth mount.
	Role string
	// CA is a PEM bundle that the server's certificate is checked against; the system's roots when empty.
	CA []byte
	// Trusted is a PEM bundle of CAs that are trusted beside those.
	Trusted []byte
	// TokenFile holds the ServiceAccount's token; it is read anew at each login, for the kubelet renews it.
	TokenFile string
	// Log gets lines for people, with nothing secret in them; nil discards them.
	Log func(format string, args ...any)
	// RetryDelay is the wait before the second try of a call; it doubles from there, up to some seconds.
	RetryDelay time.Duration
}

// Client speaks to one address with one token at a time.
type Client struct {
	Config

	api  *api.Client
	http *http.Transport
}

// New makes a client; nothing is sent yet.
func New(cfg Config) (*Client, error) {
	if cfg.Log == nil {
		cfg.Log = func(string, ...any) {}
	}
	if cfg.RetryDelay <= 0 {
		cfg.RetryDelay = firstDelay
	}
	settings := settingsOf(cfg)
	transport, ok := settings.HttpClient.Transport.(*http.Transport)
	if !ok || settings.Error != nil {
		return nil, fmt.Errorf("making a client of Vault: %w", errors.Join(settings.Error, errors.ErrUnsupported))
	}
	roots, err := trust.Roots(cfg.CA, cfg.Trusted)
	if err != nil {
		return nil, cfg.unavailable(&failure{text: err.Error()})
	}
	transport.TLSClientConfig.RootCAs = roots
	return cfg.connect(settings, transport)
}

// settingsOf are those of the client library. Unlike its defaults and its clones they read no VAULT_ or BAO_ variable,
// which are meant for Terraform's providers. A proxy that the environment names is used, as everybody else does.
func settingsOf(cfg Config) *api.Config {
	settings := api.NewConfig()
	settings.Address = strings.TrimSuffix(cfg.Address, "/")
	settings.MaxRetries, settings.Timeout = 0, 0 // both are done here
	return settings
}

func (c Config) connect(settings *api.Config, transport *http.Transport) (*Client, error) {
	client, err := api.NewClient(settings)
	if err != nil {
		return nil, c.unavailable(&failure{text: "that is no address of a server"})
	}
	if c.Namespace != "" {
		client.SetNamespace(c.Namespace)
	}
	return &Client{Config: c, api: client, http: transport}, nil
}

// With returns a client of the same server, over the same connections, with another token.
func (c *Client) With(token string) (*Client, error) {
	settings := settingsOf(c.Config)
	settings.HttpClient.Transport = c.http
	client, err := c.connect(settings, c.http)
	if err != nil {
		return nil, err
	}
	client.api.SetToken(token)
	return client, nil
}

// Close gives up the connections that are not in use.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Login logs in with the ServiceAccount's token, and returns what goes with the client's new token. Calls are made with
// that token from then on.
func (c *Client) Login(ctx context.Context) (*api.SecretAuth, error) {
	mount := strings.Trim(c.AuthPath, "/")
	doing := "logging in at " + mount
	if mount == "" || c.Role == "" {
		return nil, c.denied(doing, "an auth mount and a role are needed")
	}
	c.api.ClearToken()
	l := login{client: c, path: mount + "/login"}
	secret, err := c.try(ctx, call{doing: doing, path: l.path, once: l.once})
	if err != nil {
		return nil, err
	}
	c.api.SetToken(secret.Auth.ClientToken)
	return secret.Auth, nil
}

// login counts how often one was refused without a reason.
type login struct {
	client   *Client
	path     string
	refusals int
}

func (l *login) once(ctx context.Context) (*api.Secret, error) {
	jwt, err := os.ReadFile(l.client.TokenFile)
	if err != nil {
		return nil, &failure{text: "the ServiceAccount's token can't be read: " + err.Error()}
	}
	token := strings.TrimSpace(string(jwt))
	secret, err := l.client.write(ctx, l.path, map[string]any{"role": l.client.Role, "jwt": token})
	if err == nil && hasToken(secret) {
		return secret, nil
	}
	// A leader that steps down was seen to answer a login with nothing.
	f := &failure{status: http.StatusOK, text: "the answer has no token in it"}
	if err != nil {
		f = digest(err, token)
	}
	if err == nil || f.bareRefusal() {
		l.refusals++
		f.passes = l.refusals < maxRefusals
	}
	return nil, f
}

func hasToken(secret *api.Secret) bool {
	return secret != nil && secret.Auth != nil && secret.Auth.ClientToken != ""
}

// Read reads a path. There is no answer without an error: a path with nothing there is denied.
func (c *Client) Read(ctx context.Context, path string, parameters map[string]any) (*api.Secret, error) {
	query, err := queryOf(parameters)
	if err != nil {
		return nil, c.denied("reading "+path, err.Error())
	}
	return c.try(ctx, call{"reading " + path, path, func(ctx context.Context) (*api.Secret, error) {
		return c.read(ctx, path, query)
	}})
}

// Write writes to a path. The answer is nil where there is nothing to say. One that is lost is asked for again, so the
// server may have done it twice.
func (c *Client) Write(ctx context.Context, path string, parameters map[string]any) (*api.Secret, error) {
	return c.try(ctx, call{"writing to " + path, path, func(ctx context.Context) (*api.Secret, error) {
		return c.write(ctx, path, parameters)
	}})
}

// Renew writes to a path that renews something. Whatever goes wrong there, for good or for a moment, Vault answers 400:
// what is not known to be for good is tried again.
func (c *Client) Renew(ctx context.Context, path string, parameters map[string]any) (*api.Secret, error) {
	return c.try(ctx, call{"writing to " + path, path, func(ctx context.Context) (*api.Secret, error) {
		secret, err := c.write(ctx, path, parameters)
		if err == nil {
			return secret, nil
		}
		f := digest(err, c.api.Token())
		f.passes = f.passes || f.status == http.StatusBadRequest && !f.says(lastWords)
		return nil, f
	}})
}

func (c *Client) read(ctx context.Context, path string, query map[string][]string) (*api.Secret, error) {
	logical := c.api.Logical()
	resp, failed := logical.ReadRawWithDataWithContext(ctx, path, query)
	if err := sentOn(resp); err != nil {
		return nil, err
	}
	secret, err := logical.ParseRawResponseAndCloseBody(resp, failed)
	if secret == nil && err == nil {
		err = failed // a 404 that says what isn't there
	}
	if secret == nil && err == nil {
		err = &failure{status: http.StatusNotFound, text: "there is nothing", bare: true}
	}
	return secret, err
}

func (c *Client) write(ctx context.Context, path string, parameters map[string]any) (*api.Secret, error) {
	request := c.api.NewRequest(http.MethodPut, "/v1/"+path)
	if err := request.SetJSONBody(parameters); err != nil {
		return nil, fmt.Errorf("encoding parameters: %w", err)
	}
	resp, err := c.api.RawRequestWithContext(ctx, request)
	if err := sentOn(resp); err != nil {
		return nil, err
	}
	if resp != nil {
		defer func() { _ = resp.Body.Close() }()
	}
	if err != nil {
		return nil, err
	}
	return api.ParseSecret(resp.Body)
}

// sentOn tells of an answer that names another server. A standby names the leader, and the client library has followed
// it once; a leader of a moment ago names the next one. The library takes that for an answer with nothing in it.
func sentOn(resp *api.Response) error {
	if resp == nil || resp.StatusCode < http.StatusMultipleChoices || resp.StatusCode >= http.StatusBadRequest {
		return nil
	}
	_ = resp.Body.Close()
	return &failure{status: resp.StatusCode, text: "sent on by a server that does not lead", passes: true}
}

// queryOf makes parameters of a read: a list is one that is given several times.
func queryOf(parameters map[string]any) (map[string][]string, error) {
	query := map[string][]string{}
	for name, value := range parameters {
		list, ok := value.([]any)
		if !ok {
			list = []any{value}
		}
		for _, v := range list {
			text, err := Text(v)
			if err != nil {
				return nil, fmt.Errorf("parameter %s: %w", name, err)
			}
			query[name] = append(query[name], text)
		}
	}
	return query, nil
}

// Text is a value of an answer as people write it: a string as it is, nothing for null, and JSON for the rest.
func Text(value any) (string, error) {
	switch v := value.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	}
	text, err := json.Marshal(value)
	if err != nil {
		return "", fmt.Errorf("encoding a value: %w", err)
	}
	return string(text), nil
}
