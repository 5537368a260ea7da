package job

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// TrustFile is the name of bundle i in TrustDir.
func TrustFile(i int) string { return fmt.Sprintf("%d.pem", i) }

// CheckBundle tells what is wrong with a bundle of CA certificates in PEM. What stands between the certificates is a
// comment, but nothing that begins like one may be none.
func CheckBundle(bundle []byte) error {
	found := 0
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		found++
		if block.Type != "CERTIFICATE" {
			return fmt.Errorf("block %d is a %s and no CERTIFICATE", found, block.Type)
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return fmt.Errorf("certificate %d can't be read: %w", found, err)
		}
	}
	if bytes.Count(bundle, []byte("-----BEGIN")) > found {
		return fmt.Errorf("of its certificates only %d can be read: the PEM is broken", found)
	}
	if found == 0 {
		return errors.New("it has no certificate in it")
	}
	return nil
}
