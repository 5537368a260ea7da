// Package trust tells whose certificates a client believes.
package trust

import (
	"crypto/x509"
	"errors"
)

// ErrNoCertificate is of a bundle that has none in it.
var ErrNoCertificate = errors.New("the CA bundle has no certificate in it")

// Roots are a server's own CA bundle instead of the system's, if there is one, and the bundles that are trusted
// beside it. Both are PEM. It is nil, which stands for the system's CAs, if there is neither. The error is
// ErrNoCertificate, of ca.
func Roots(ca, beside []byte) (*x509.CertPool, error) {
	if len(ca) == 0 && len(beside) == 0 {
		return nil, nil
	}
	roots := x509.NewCertPool()
	switch {
	case len(ca) > 0:
		if !roots.AppendCertsFromPEM(ca) {
			return nil, ErrNoCertificate
		}
	default:
		if system, err := x509.SystemCertPool(); err == nil { // an image may have none
			roots = system
		}
	}
	roots.AppendCertsFromPEM(beside)
	return roots, nil
}
