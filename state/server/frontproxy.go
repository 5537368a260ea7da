package server

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Who may speak for others is written down by each cluster in one place.
var proxyConfigMap = client.ObjectKey{Namespace: "kube-system", Name: "extension-apiserver-authentication"}

const (
	// rereadProxy is for how long that is believed; a certificate that it doesn't know is reason to look sooner.
	rereadProxy       = time.Minute
	rereadProxySooner = 2 * time.Second
)

// errNoFrontProxy tells that the cluster's API server passes requests on to nobody.
var errNoFrontProxy = errors.New("the API server has no aggregation layer: kube-system/" +
	"extension-apiserver-authentication has no requestheader-client-ca-file")

// FrontProxy tells for whom the API server passes a request on. Only a client certificate of the API server makes the
// headers that say so worth anything.
type FrontProxy struct {
	client client.Client
	clock  clock.PassiveClock

	mu      sync.Mutex
	current *proxyConfig
	at      time.Time
}

// NewFrontProxy returns a FrontProxy. The client must not read from a cache.
func NewFrontProxy(c client.Client, clk clock.PassiveClock) *FrontProxy {
	return &FrontProxy{client: c, clock: clk}
}

// Person returns the user that the API server has authenticated.
func (f *FrontProxy) Person(ctx context.Context, r *http.Request) (authenticationv1.UserInfo, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return authenticationv1.UserInfo{}, fmt.Errorf("%w: this is for the API server, which passes on what people ask",
			ErrUnauthenticated)
	}
	cfg, err := f.config(ctx, rereadProxy)
	if err != nil {
		return authenticationv1.UserInfo{}, err
	}
	if err := cfg.verify(r.TLS.PeerCertificates, f.clock.Now()); err != nil {
		// The API server may have a new certificate since.
		if cfg, err = f.config(ctx, rereadProxySooner); err != nil {
			return authenticationv1.UserInfo{}, err
		}
		if err := cfg.verify(r.TLS.PeerCertificates, f.clock.Now()); err != nil {
			return authenticationv1.UserInfo{}, err
		}
	}
	return cfg.user(r.Header)
}

// Ready returns nil when there is an API server to trust.
func (f *FrontProxy) Ready(ctx context.Context) error {
	_, err := f.config(ctx, rereadProxy)
	return err
}

// config returns what was read at most maxAge ago. What was read before counts while it can't be read anew.
func (f *FrontProxy) config(ctx context.Context, maxAge time.Duration) (*proxyConfig, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.current != nil && f.clock.Since(f.at) < maxAge {
		return f.current, nil
	}
	var cm corev1.ConfigMap
	err := f.client.Get(ctx, proxyConfigMap, &cm)
	if err == nil {
		f.current, err = readProxyConfig(cm.Data)
		f.at = f.clock.Now()
	}
	if err != nil && f.current == nil {
		return nil, fmt.Errorf("reading who may speak for others: %w", err)
	}
	return f.current, nil
}

// proxyConfig is the content of that ConfigMap.
type proxyConfig struct {
	roots *x509.CertPool
	// names are the common names that are allowed; any when empty.
	names                            []string
	users, uids, groups, extraPrefix []string
}

func readProxyConfig(data map[string]string) (*proxyConfig, error) {
	cfg := &proxyConfig{roots: x509.NewCertPool()}
	if !cfg.roots.AppendCertsFromPEM([]byte(data["requestheader-client-ca-file"])) {
		return nil, errNoFrontProxy
	}
	for key, list := range map[string]*[]string{
		"requestheader-allowed-names":        &cfg.names,
		"requestheader-username-headers":     &cfg.users,
		"requestheader-uid-headers":          &cfg.uids,
		"requestheader-group-headers":        &cfg.groups,
		"requestheader-extra-headers-prefix": &cfg.extraPrefix,
	} {
		if data[key] == "" {
			continue
		}
		if err := json.Unmarshal([]byte(data[key]), list); err != nil {
			return nil, fmt.Errorf("reading %s: %w", key, err)
		}
	}
	return cfg, nil
}

// verify returns nil for the certificate of an API server.
func (c *proxyConfig) verify(chain []*x509.Certificate, now time.Time) error {
	between := x509.NewCertPool()
	for _, cert := range chain[1:] {
		between.AddCert(cert)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: c.roots, Intermediates: between, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return fmt.Errorf("%w: the client's certificate is not the API server's: %w", ErrUnauthenticated, err)
	}
	if name := chain[0].Subject.CommonName; len(c.names) > 0 && !slices.Contains(c.names, name) {
		return fmt.Errorf("%w: the certificate of %q may not speak for others", ErrUnauthenticated, name)
	}
	return nil
}

// user reads the headers of a request that was verified.
func (c *proxyConfig) user(h http.Header) (authenticationv1.UserInfo, error) {
	user := authenticationv1.UserInfo{Username: first(h, c.users), UID: first(h, c.uids)}
	if user.Username == "" {
		return authenticationv1.UserInfo{}, fmt.Errorf("%w: the API server names no user", ErrUnauthenticated)
	}
	for _, key := range c.groups {
		user.Groups = append(user.Groups, h.Values(key)...)
	}
	for key, values := range h {
		for _, prefix := range c.extraPrefix {
			if len(key) < len(prefix) || !strings.EqualFold(key[:len(prefix)], prefix) {
				continue
			}
			name := strings.ToLower(key[len(prefix):])
			if plain, err := url.PathUnescape(name); err == nil {
				name = plain
			}
			if user.Extra == nil {
				user.Extra = map[string]authenticationv1.ExtraValue{}
			}
			user.Extra[name] = append(user.Extra[name], values...)
		}
	}
	return user, nil
}

func first(h http.Header, keys []string) string {
	for _, key := range keys {
		if v := h.Get(key); v != "" {
			return v
		}
	}
	return ""
}
