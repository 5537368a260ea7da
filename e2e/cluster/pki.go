package cluster

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"
)

// identity is one certificate: who it speaks for, and the names it may serve under.
type identity struct {
	file   string
	user   string
	groups []string
	hosts  []string
}

// identities lists every certificate of the cluster. The files are <file>.crt and <file>.key.
var identities = []identity{
	{file: "apiserver", user: "kube-apiserver", hosts: []string{
		gateway, apiServiceIP, "127.0.0.1", "localhost",
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + clusterZone,
	}},
	{file: "apiserver-kubelet", user: "kube-apiserver-kubelet-client", groups: []string{"system:masters"}},
	{file: "admin", user: "admin", groups: []string{"system:masters"}},
	{file: "kube-controller-manager", user: "system:kube-controller-manager"},
	{file: "kube-scheduler", user: "system:kube-scheduler"},
	{file: "kube-proxy", user: "system:kube-proxy"},
	{file: "coredns", user: "system:coredns"},
	{file: "kubelet", user: "system:node:" + nodeName, groups: []string{"system:nodes"}},
	{file: "kubelet-serving", user: "system:node:" + nodeName, hosts: []string{gateway, nodeName}},
}

// frontProxy is the API server where it passes requests on to others.
var frontProxy = identity{file: "front-proxy", user: "front-proxy-client"}

// validity is long enough for a cluster that someone left running.
const validity = 365 * 24 * time.Hour

type authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// writePKI makes a new authority, a certificate per identity, and the key that signs ServiceAccount tokens.
func writePKI(l layout) error {
	ca, err := newAuthority(l, "ca")
	if err != nil {
		return fmt.Errorf("making the certificate authority: %w", err)
	}
	for i, id := range identities {
		if err := ca.issue(l, id, int64(i+2)); err != nil {
			return fmt.Errorf("issuing %s: %w", id.file, err)
		}
	}
	// Whoever has a certificate of this authority may speak for anybody: nobody but the API server gets one.
	proxyCA, err := newAuthority(l, "front-proxy-ca")
	if err != nil {
		return fmt.Errorf("making the front proxy's authority: %w", err)
	}
	if err := proxyCA.issue(l, frontProxy, 2); err != nil {
		return fmt.Errorf("issuing %s: %w", frontProxy.file, err)
	}
	// RSA, as most clusters have it: what verifies tokens outside must cope with that.
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("making the token key: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("making the token key: %w", err)
	}
	if err := writePEM(l.pki("serviceaccount.pub"), "PUBLIC KEY", public); err != nil {
		return err
	}
	return writePEM(l.pki("serviceaccount.key"), "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))
}

func newAuthority(l layout, file string) (authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return authority{}, err
	}
	template := template("plumbline-test-"+file, 1)
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage |= x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return authority{}, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return authority{}, err
	}
	return authority{certificate: certificate, key: key}, writePair(l, file, der, key)
}

func (a authority) issue(l layout, id identity, serial int64) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := template(id.user, serial)
	template.Subject.Organization = id.groups
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	for _, host := range id.hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return err
	}
	return writePair(l, id.file, der, key)
}

func template(name string, serial int64) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour), // clocks of virtual machines jump
		NotAfter:     time.Now().Add(validity),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
}

func writePair(l layout, name string, certificate []byte, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	if err := writePEM(l.pki(name+".key"), "EC PRIVATE KEY", der); err != nil {
		return err
	}
	return writePEM(l.pki(name+".crt"), "CERTIFICATE", certificate)
}

func writePEM(path, kind string, der []byte) error {
	block := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := os.WriteFile(path, block, 0o600); err != nil {
		return fmt.Errorf("writing a key or certificate: %w", err)
	}
	return nil
}
