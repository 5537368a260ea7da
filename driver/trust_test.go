package driver

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/driver/credentials"
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

// TestTrustReachesEverybody: Terraform by its environment, the clients of Vault and of the state service, which is of
// that very CA here.
func TestTrustReachesEverybody(t *testing.T) {
	b := newBench(t)
	b.useFake("environ")
	b.trust(`ConfigMap "ca", key "ca.crt"`, b.state.ca())
	b.cfg.Params.State.CA = ""
	b.credential("mine", map[string]string{"AWS_CA_BUNDLE": "/mine"})
	v, trusted := b.useVault(cloudCredential()), ""
	v.answers["aws/creds/deployer"] = leased(time.Hour, true)
	login := b.cfg.Login
	b.cfg.Login = func(ctx context.Context, cfg credentials.Config) (Session, error) {
		trusted = string(cfg.Trusted)
		return login(ctx, cfg)
	}
	if got := b.run(t.Context()); got.Class != job.NoChanges {
		t.Fatalf("%s: %s", got.Class, got.Message)
	}
	if strings.TrimSpace(trusted) != strings.TrimSpace(b.state.ca()) {
		t.Errorf("the client of Vault was given %q to trust", trusted)
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
