package driver

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// systemBundles are where systems keep their CAs, in the order in which Go looks.
var systemBundles = []string{
	"/etc/ssl/certs/ca-certificates.crt",                // Debian, and the runner image
	"/etc/pki/tls/certs/ca-bundle.crt",                  // Fedora, RHEL
	"/etc/ssl/ca-bundle.pem",                            // SUSE
	"/etc/pki/tls/cacert.pem",                           // OpenELEC
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // RHEL 7
	"/etc/ssl/cert.pem",                                 // Alpine
}

// trustVariables are what the programs in the Pod read the path of a bundle from: Go and OpenSSL, git, curl, and the
// SDKs of AWS, Python and Node.
var trustVariables = []string{
	"SSL_CERT_FILE", "GIT_SSL_CAINFO", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",
}

// readTrust reads the bundles that are trusted beside the system's. The controller has looked at them already; what was
// changed since then is said here.
func (r *run) readTrust() error {
	var trusted []byte
	for i, name := range r.Params.Trust {
		bundle, err := os.ReadFile(filepath.Join(r.Paths.Trust, job.TrustFile(i)))
		if err != nil {
			return fmt.Errorf("reading the trusted CAs of %s: %w", name, err)
		}
		if err := job.CheckBundle(bundle); err != nil {
			return invalid("%s: trusted CAs: %v", name, err)
		}
		trusted = append(append(trusted, bundle...), '\n')
	}
	r.trusted = trusted
	return nil
}

// trustEnv joins what is trusted with the system's CAs in a file, and is what leads Terraform, its providers and git
// there: each of these variables replaces the system's CAs.
func (r *run) trustEnv() (map[string]string, error) {
	if len(r.trusted) == 0 {
		return nil, nil
	}
	path := filepath.Join(r.Paths.Temp, "plumbline-ca.pem")
	if err := os.WriteFile(path, bytes.Join([][]byte{systemCAs(), r.trusted}, []byte("\n")), 0o600); err != nil {
		return nil, fmt.Errorf("writing trusted CAs: %w", err)
	}
	env := map[string]string{}
	for _, name := range trustVariables {
		env[name] = path
	}
	return env, nil
}

// systemCAs is empty for an image without any.
func systemCAs() []byte {
	for _, path := range systemBundles {
		if bundle, err := os.ReadFile(path); err == nil {
			return bundle
		}
	}
	return nil
}
