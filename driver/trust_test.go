package driver

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// trust mounts a bundle.
func (b *bench) trust(name, content string) {
	b.cfg.Paths.Trust = filepath.Join(b.cfg.Paths.Temp, "trust")
	b.must(os.MkdirAll(b.cfg.Paths.Trust, 0o755))
	file := job.TrustFile(len(b.cfg.Params.Trust))
	b.cfg.Params.Trust = append(b.cfg.Params.Trust, name)
	b.must(os.WriteFile(filepath.Join(b.cfg.Paths.Trust, file), []byte(content), 0o600))
}

// TestTrustReachesTerraformAndTheStateService: the one by its environment; the other is of that very CA here.
func TestTrustReachesTerraformAndTheStateService(t *testing.T) {
	b := newBench(t)
	b.useFake("environ")
	b.trust(`ConfigMap "ca", key "ca.crt"`, b.state.ca())
	b.cfg.Params.State.CA = ""
	b.credential("cloud", map[string]string{"AWS_CA_BUNDLE": "/mine"})
	if got := b.run(t.Context()); got.Class != job.NoChanges {
		t.Fatalf("%s: %s", got.Class, got.Message)
	}
	environ, err := os.ReadFile(filepath.Join(b.cfg.Paths.Work, "environ"))
	b.must(err)
	env := map[string]string{}
	for line := range strings.SplitSeq(string(environ), "\n") {
		name, value, _ := strings.Cut(line, "=")
		env[name] = value
	}
	if env["AWS_CA_BUNDLE"] != "/mine" {
		t.Errorf("AWS_CA_BUNDLE is %s, and not what a credential set", env["AWS_CA_BUNDLE"])
	}
	for _, name := range trustVariables {
		if name == "AWS_CA_BUNDLE" {
			continue
		}
		bundle, err := os.ReadFile(env[name])
		joined := strings.HasPrefix(string(bundle), string(systemCAs())) && strings.Contains(string(bundle), b.state.ca())
		if err != nil || !joined {
			t.Errorf("%s: %d bytes, %v", name, len(bundle), err)
		}
	}
	if _, set := env["SSL_CERT_DIR"]; set {
		t.Error("SSL_CERT_DIR is set")
	}
}

// TestTrustIsChecked: what was broken after the controller looked is said with its name.
func TestTrustIsChecked(t *testing.T) {
	b := newBench(t)
	b.useFake("nochange")
	b.trust(`ConfigMap "ca", key "ca.crt"`, "no PEM")
	got := b.run(t.Context())
	if want := `ConfigMap "ca", key "ca.crt": trusted CAs: it has no certificate in it`; got.Message != want ||
		got.Class != job.ConfigInvalid {
		t.Errorf("%s: %s", got.Class, got.Message)
	}
	b.checkReports(got)
}

func TestPoolOf(t *testing.T) {
	s := newFakeState(t)
	pool := poolOf(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	if _, err := s.Certificate().Verify(x509.VerifyOptions{Roots: pool}); err != nil {
		t.Error(err)
	}
	if poolOf(nil) != nil {
		t.Error("no bundle stands for something else than the system's CAs")
	}
}
