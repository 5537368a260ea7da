package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// +kubebuilder:rbac:groups="",namespace=plumbline-system,resources=secrets,verbs=get;list;create;update;delete

// Keys of the Secret. The last one is ours: a Secret without it was brought by somebody else and is served as it is.
const (
	keyCACert = "ca.crt"
	keyCert   = corev1.TLSCertKey
	keyKey    = corev1.TLSPrivateKeyKey
	keyCAKey  = "ca.key"
)

// reloadEvery is how soon a certificate that another replica, or somebody else, has renewed is served too.
const reloadEvery = 30 * time.Second

// errNoCertificate is returned to callers before the first certificate is there.
var errNoCertificate = errors.New("there is no certificate yet")

// CertOptions say which Secret holds the certificate, and for which names it is.
type CertOptions struct {
	Client   client.Client
	Secret   client.ObjectKey
	DNSNames []string
	// Foreign says that somebody else makes the certificate: it is waited for.
	Foreign bool
	Clock   clock.Clock
	Log     *slog.Logger
}

// Certs serves with the certificate of a Secret, makes one when there is none, and renews it in time. Replicas may do
// so at once: whoever is first wins, the others take what the Secret holds then.
type Certs struct {
	CertOptions
	current atomic.Pointer[tls.Certificate]
}

// NewCerts returns Certs that Load must fill.
func NewCerts(o CertOptions) *Certs { return &Certs{CertOptions: o} }

// TLS is the configuration of a server with these certificates.
func (c *Certs) TLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if cert := c.current.Load(); cert != nil {
				return cert, nil
			}
			return nil, errNoCertificate
		},
	}
}

// Keep loads again and again, until ctx ends.
func (c *Certs) Keep(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.Clock.After(reloadEvery):
		}
		if err := c.Load(ctx); err != nil && ctx.Err() == nil {
			c.Log.WarnContext(ctx, "keeping the certificate up to date failed; it is tried again", "error", err)
		}
	}
}

// Load reads the Secret, makes or renews what is missing or about to end, and serves it.
func (c *Certs) Load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	for {
		secret, err := c.ensure(ctx)
		if apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) {
			continue // another replica was faster: its certificate is as good
		}
		if err != nil {
			return fmt.Errorf("keeping certificate %s: %w", c.Secret, err)
		}
		return c.use(secret)
	}
}

func (c *Certs) ensure(ctx context.Context) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	err := c.Client.Get(ctx, c.Secret, secret)
	if apierrors.IsNotFound(err) && !c.Foreign {
		return c.create(ctx)
	}
	if err != nil || c.Foreign || foreign(secret) {
		return secret, err
	}
	data, err := renew(secret.Data, c.DNSNames, c.Clock.Now())
	if err != nil || data == nil {
		return secret, err
	}
	secret.Data = data
	c.Log.InfoContext(ctx, "renewing the certificate", "secret", c.Secret.String())
	return secret, c.Client.Update(ctx, secret)
}

func (c *Certs) create(ctx context.Context) (*corev1.Secret, error) {
	data, err := renew(nil, c.DNSNames, c.Clock.Now())
	if err != nil {
		return nil, err
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: c.Secret.Namespace, Name: c.Secret.Name,
			Labels: map[string]string{"app.kubernetes.io/name": "plumbline", "app.kubernetes.io/component": "state"},
		},
		Type: corev1.SecretTypeTLS,
		Data: data,
	}
	c.Log.InfoContext(ctx, "making a certificate", "secret", c.Secret.String())
	return secret, c.Client.Create(ctx, secret)
}

// foreign tells whether somebody else keeps this certificate. An empty Secret is ours to fill.
func foreign(secret *corev1.Secret) bool {
	return len(secret.Data[keyCAKey]) == 0 && len(secret.Data[keyCert]) > 0
}

func (c *Certs) use(secret *corev1.Secret) error {
	cert, err := tls.X509KeyPair(secret.Data[keyCert], secret.Data[keyKey])
	if err != nil {
		return fmt.Errorf("reading certificate %s: %w", c.Secret, err)
	}
	old := c.current.Swap(&cert)
	if old != nil && !bytes.Equal(old.Certificate[0], cert.Certificate[0]) {
		c.Log.Info("serving another certificate", "secret", c.Secret.String(), "until", cert.Leaf.NotAfter)
	}
	return nil
}
