package server

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"time"
)

const (
	caLife   = 10 * 365 * 24 * time.Hour
	certLife = 365 * 24 * time.Hour
	// renewBefore is how long before its end a certificate is replaced, and caRenewBefore a CA. In between clients get to
	// know the new CA, while the certificate that is served is still the old one's.
	renewBefore   = 30 * 24 * time.Hour
	caRenewBefore = 90 * 24 * time.Hour
	// backdate forgives clocks that are a little behind.
	backdate = time.Hour
)

// pair is a certificate with its key.
type pair struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// renew returns what the Secret shall hold, or nil when what it holds will do.
func renew(data map[string][]byte, dnsNames []string, now time.Time) (map[string][]byte, error) {
	ca, authority, err := renewCA(data, now)
	if err != nil {
		return nil, err
	}
	cert, err := readPair(data[keyCert], data[keyKey])
	if err == nil && fresh(cert.cert, now, renewBefore) && covers(cert.cert, dnsNames) &&
		signed(cert.cert, authority[keyCACert]) {
		if bytes.Equal(authority[keyCACert], data[keyCACert]) {
			return nil, nil
		}
		authority[keyCert], authority[keyKey] = data[keyCert], data[keyKey]
		return authority, nil
	}
	if cert, err = newCert(ca, dnsNames, now); err != nil {
		return nil, err
	}
	key, err := encodeKey(cert.key)
	if err != nil {
		return nil, err
	}
	authority[keyCert], authority[keyKey] = encodeCert(cert.cert), key
	return authority, nil
}

// renewCA returns the CA and the Secret's keys about it. It outlives many certificates, so that clients, who know the
// CA alone, don't notice a renewal; when it is renewed itself, the old one stays in the bundle, and so does the
// certificate that it has signed until its own time comes.
func renewCA(data map[string][]byte, now time.Time) (pair, map[string][]byte, error) {
	old, oldErr := readPair(data[keyCACert], data[keyCAKey])
	if oldErr == nil && fresh(old.cert, now, caRenewBefore) {
		return old, map[string][]byte{keyCACert: data[keyCACert], keyCAKey: data[keyCAKey]}, nil
	}
	ca, err := newCA(now)
	if err != nil {
		return pair{}, nil, err
	}
	key, err := encodeKey(ca.key)
	if err != nil {
		return pair{}, nil, err
	}
	bundle := encodeCert(ca.cert)
	if oldErr == nil {
		bundle = append(bundle, encodeCert(old.cert)...)
	}
	return ca, map[string][]byte{keyCACert: bundle, keyCAKey: key}, nil
}

func fresh(cert *x509.Certificate, now time.Time, before time.Duration) bool {
	return cert.NotBefore.Before(now) && now.Add(before).Before(cert.NotAfter)
}

func covers(cert *x509.Certificate, dnsNames []string) bool {
	return !slices.ContainsFunc(dnsNames, func(name string) bool { return !slices.Contains(cert.DNSNames, name) })
}

// signed tells whether one of a bundle's CAs has signed the certificate.
func signed(cert *x509.Certificate, bundle []byte) bool {
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		if ca, err := x509.ParseCertificate(block.Bytes); err == nil && cert.CheckSignatureFrom(ca) == nil {
			return true
		}
	}
	return false
}

func newCA(now time.Time) (pair, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "plumbline-state-ca"},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(caLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	return sign(template, pair{})
}

func newCert(ca pair, dnsNames []string, now time.Time) (pair, error) {
	life := now.Add(certLife)
	if life.After(ca.cert.NotAfter) {
		life = ca.cert.NotAfter
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "plumbline-state"},
		DNSNames:    dnsNames,
		NotBefore:   now.Add(-backdate),
		NotAfter:    life,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	return sign(template, ca)
}

// sign makes a key and a certificate for it; without an issuer the certificate signs itself.
func sign(template *x509.Certificate, issuer pair) (pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, fmt.Errorf("making a key: %w", err)
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return pair{}, fmt.Errorf("making a serial number: %w", err)
	}
	if issuer.cert == nil {
		issuer = pair{cert: template, key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer.cert, &key.PublicKey, issuer.key)
	if err != nil {
		return pair{}, fmt.Errorf("signing a certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return pair{}, fmt.Errorf("reading a new certificate: %w", err)
	}
	return pair{cert: cert, key: key}, nil
}

// readPair reads the first certificate of a bundle and its key.
func readPair(certPEM, keyPEM []byte) (pair, error) {
	certBlock, _ := pem.Decode(certPEM)
	keyBlock, _ := pem.Decode(keyPEM)
	if certBlock == nil || keyBlock == nil {
		return pair{}, fmt.Errorf("reading a certificate: no PEM")
	}
	cert, err := x509.ParseCertificate(certBlock.Bytes)
	if err != nil {
		return pair{}, fmt.Errorf("reading a certificate: %w", err)
	}
	key, err := x509.ParseECPrivateKey(keyBlock.Bytes)
	if err != nil {
		return pair{}, fmt.Errorf("reading a key: %w", err)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return pair{}, fmt.Errorf("reading a certificate: the key is another's")
	}
	return pair{cert: cert, key: key}, nil
}

func encodeCert(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}
