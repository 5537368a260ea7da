package server

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"maps"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

var (
	tlsSecret = client.ObjectKey{Namespace: "plumbline-system", Name: "tls"}
	names     = []string{"state.plumbline-system.svc"}
)

const day = 24 * time.Hour

// trusts tells whether clients that know this CA bundle accept the Secret's certificate.
func trusts(bundle []byte, data map[string][]byte, now time.Time) error {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(bundle)
	block, _ := pem.Decode(data[keyCert])
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	_, err = cert.Verify(x509.VerifyOptions{Roots: pool, DNSName: names[0], CurrentTime: now})
	return err
}

func mustRenew(t *testing.T, data map[string][]byte, now time.Time) map[string][]byte {
	t.Helper()
	next, err := renew(data, names, now)
	if err != nil {
		t.Fatal(err)
	}
	if next == nil {
		return data
	}
	if _, err := tls.X509KeyPair(next[keyCert], next[keyKey]); err != nil {
		t.Fatalf("the certificate and its key don't belong together: %v", err)
	}
	return next
}

func TestRenew(t *testing.T) {
	first := mustRenew(t, nil, start)
	without := func(key string) map[string][]byte {
		data := maps.Clone(first)
		delete(data, key)
		return data
	}
	for _, test := range []struct {
		name           string
		data           map[string][]byte
		after          time.Duration
		sameCA, sameIt bool
	}{
		{"fresh", first, day, true, true},
		{"31 days left", first, 334 * day, true, true},
		{"29 days left", first, 336 * day, true, false},
		{"ended", first, 400 * day, true, false},
		{"the certificate is lost", without(keyCert), day, true, false},
		{"its key is lost", without(keyKey), day, true, false},
		{"the CA's key is lost", without(keyCAKey), day, false, false},
		{"the CA is lost", without(keyCACert), day, false, false},
		{"the CA ends in a while, and the certificate that it has signed", first, 3630 * day, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			now := start.Add(test.after)
			next := mustRenew(t, test.data, now)
			if got := bytes.Equal(next[keyCACert], first[keyCACert]); got != test.sameCA {
				t.Errorf("same CA: %v, want %v", got, test.sameCA)
			}
			if got := bytes.Equal(next[keyCert], first[keyCert]); got != test.sameIt {
				t.Errorf("same certificate: %v, want %v", got, test.sameIt)
			}
			if err := trusts(next[keyCACert], next, now); err != nil {
				t.Errorf("clients don't trust it: %v", err)
			}
			if err := trusts(first[keyCACert], next, now); test.sameCA && err != nil {
				t.Errorf("clients with the old bundle don't trust it: %v", err)
			}
		})
	}
}

// TestRenewalsOverlap: for more years than a CA lives, whoever has read the bundle within the last month, such as a
// driver at its Pod's start, trusts what is served today.
func TestRenewalsOverlap(t *testing.T) {
	const step, month = 5, 6 // in days, and in steps
	data, bundles := mustRenew(t, nil, start), [][]byte{}
	cas, certs := map[string]bool{}, map[string]bool{}
	for i := range 15 * 365 / step {
		now := start.Add(time.Duration(i) * step * day)
		data = mustRenew(t, data, now)
		cas[string(data[keyCAKey])], certs[string(data[keyCert])] = true, true
		bundles = append(bundles, data[keyCACert])
		if err := trusts(bundles[max(0, i-month)], data, now); err != nil {
			t.Fatalf("day %d: a client that knows an older bundle doesn't trust the certificate: %v", i*step, err)
		}
	}
	if len(cas) < 2 || len(certs) < 15 {
		t.Errorf("there were %d CAs and %d certificates: nothing was shown", len(cas), len(certs))
	}
}

func TestRenewForAnotherName(t *testing.T) {
	other, err := renew(nil, []string{"other.svc"}, start)
	if err != nil {
		t.Fatal(err)
	}
	next := mustRenew(t, other, start.Add(day))
	if err := trusts(other[keyCACert], next, start.Add(day)); err != nil {
		t.Errorf("clients don't trust the certificate for the new name: %v", err)
	}
}

func newTestCerts(c client.Client) *Certs {
	return NewCerts(CertOptions{
		Client: c, Secret: tlsSecret, DNSNames: names, Clock: clocktesting.NewFakeClock(start),
		Log: slog.New(slog.DiscardHandler),
	})
}

func TestReplicasAgreeOnOneCertificate(t *testing.T) {
	c := fake.NewClientBuilder().Build()
	served := make([][]byte, 8)
	var wg sync.WaitGroup
	for i := range served {
		wg.Go(func() {
			certs := newTestCerts(c)
			if err := certs.Load(t.Context()); err != nil {
				t.Errorf("replica %d: %v", i, err)
				return
			}
			cert, err := certs.TLS().GetCertificate(nil)
			if err != nil {
				t.Errorf("replica %d: %v", i, err)
				return
			}
			served[i] = cert.Certificate[0]
		})
	}
	wg.Wait()
	for i := range served {
		if !bytes.Equal(served[i], served[0]) {
			t.Errorf("replica %d serves another certificate", i)
		}
	}
}

func TestForeignCertificateIsServedAsItIs(t *testing.T) {
	old := mustRenew(t, nil, start.Add(-360*day))
	delete(old, keyCAKey)
	secret := &corev1.Secret{Data: old}
	secret.Namespace, secret.Name = tlsSecret.Namespace, tlsSecret.Name
	c := fake.NewClientBuilder().WithObjects(secret).Build()
	if err := newTestCerts(c).Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := &corev1.Secret{}
	if err := c.Get(t.Context(), tlsSecret, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Data[keyCert], old[keyCert]) {
		t.Error("somebody else's certificate was replaced")
	}
}
