package driver

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/clock"

	"github.com/plumbline-dev/plumbline/driver/credentials"
	"github.com/plumbline-dev/plumbline/driver/job"
)

func init() {
	scenes["refused"] = refused
}

// refused is told by the cloud that it knows no such user, but for every fifth time.
func refused(c call) int {
	if c.nth%5 != 0 {
		c.fail("begun", "Unauthorized")
		return 1
	}
	return c.applies("apply")
}

func cloudCredential() job.VaultRequest {
	return job.VaultRequest{Name: "cloud", Path: "aws/creds/deployer", Env: map[string]string{"AWS_SECRET": "secret"}}
}

func leased(ttl time.Duration, renewable bool) credentials.Answer {
	return credentials.Answer{Data: map[string]string{"secret": "geheimnis"}, TTL: ttl, Renewable: renewable}
}

// TestVaultReachesTerraform: fields arrive where they were asked for, and nowhere else.
func TestVaultReachesTerraform(t *testing.T) {
	b := newBench(t)
	b.useFake("environ")
	v := b.useVault(
		cloudCredential(),
		job.VaultRequest{
			Name: "db", Role: "dba", Path: "database/creds/app", Write: true,
			Parameters: map[string]json.RawMessage{"ttl": json.RawMessage(`"15m"`), "n": json.RawMessage(`2`)},
			Files:      map[string]string{"pg.pass": "password"}, Variables: map[string]string{"db_password": "password"},
		})
	b.spec.Tokens = []job.Token{{Name: "sts", Audience: "sts", Env: "AWS_WEB_IDENTITY_TOKEN_FILE"}}
	v.answers["aws/creds/deployer"] = leased(time.Hour, true)
	v.answers["database/creds/app"] = credentials.Answer{Data: map[string]string{"password": "${file(\"/etc/passwd\")}"}}

	got := b.run(t.Context())
	steps := []job.Step{
		step1("prepare"), step1("credentials"), step1("init"), step1("plan"), step1("outputs"),
	}
	want := job.Result{Class: job.NoChanges, Message: "nothing to change", Changes: &job.Changes{}, Steps: steps}
	if diff := cmp.Diff(want, got, withoutTimes); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}

	environ := b.read(filepath.Join(b.cfg.Paths.Work, "environ"))
	folder := filepath.Join(b.cfg.Paths.Grants, "credentials")
	for _, line := range []string{
		"AWS_SECRET=geheimnis", "PLUMBLINE_CREDENTIALS=" + folder,
		"AWS_WEB_IDENTITY_TOKEN_FILE=" + filepath.Join(b.cfg.Paths.Tokens, "sts", "token"),
	} {
		if !slices.Contains(strings.Split(environ, "\n"), line) {
			t.Errorf("Terraform's environment lacks %s", line)
		}
	}
	password := "${file(\"/etc/passwd\")}"
	if strings.Contains(environ, password) {
		t.Error("a variable is in the environment, where providers see it")
	}
	if got := b.read(filepath.Join(folder, "pg.pass")); got != password {
		t.Errorf("the file holds %q", got)
	}
	b.checkModes(map[string]os.FileMode{folder: 0o700, filepath.Join(folder, "pg.pass"): 0o600})
	b.checkVariables(map[string]string{"db_password": password})
	b.checkVault(v, `default login, dba login, default aws/creds/deployer, `+
		`dba database/creds/app {"n":2,"ttl":"15m"}, dba revoke, default revoke`)
	if strings.Contains(b.log.String(), "geheimnis") || strings.Contains(b.log.String(), password) {
		t.Error("the log shows a secret")
	}
	if diff := cmp.Diff(`["accessor-dba","accessor-default"]`, string(b.state.parts[job.PartAccessors])); diff != "" {
		t.Error(diff)
	}
}

func (b *bench) checkModes(want map[string]os.FileMode) {
	b.t.Helper()
	for path, mode := range want {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			b.t.Errorf("%s: %v, %v", path, info, err)
		}
	}
}

// checkVariables looks for them where `apply` was told to read them.
func (b *bench) checkVariables(want map[string]string) {
	b.t.Helper()
	args := b.read(filepath.Join(b.cfg.Paths.Work, "calls.apply"))
	_, path, found := strings.Cut(args, "-var-file=")
	path, _, _ = strings.Cut(path, " ")
	var got map[string]string
	if !found || json.Unmarshal([]byte(b.read(strings.TrimSpace(path))), &got) != nil {
		b.t.Fatalf("apply was called with %s", args)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		b.t.Error(diff)
	}
}

func (b *bench) read(path string) string {
	b.t.Helper()
	content, err := os.ReadFile(path)
	b.must(err)
	return string(content)
}

// checkVault compares what was done, but for the order of revocations.
func (b *bench) checkVault(v *fakeVault, want string) {
	b.t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	did := slices.Clone(v.did)
	first := slices.IndexFunc(did, func(what string) bool { return strings.HasSuffix(what, " revoke") })
	if first >= 0 {
		slices.Sort(did[first:])
	}
	if diff := cmp.Diff(want, strings.Join(did, ", ")); diff != "" {
		b.t.Errorf("what Vault was asked (-want +got):\n%s", diff)
	}
}

// TestVaultFailures: each end before Terraform has its class, says what is wrong, and leaves no session behind.
func TestVaultFailures(t *testing.T) {
	denied := &credentials.Error{Class: job.CredentialsDenied, Message: `logging in at auth/jwt as role "default": 403`}
	sealed := &credentials.Error{Class: job.CredentialsUnavailable, Message: "503 Vault is sealed"}
	tests := []struct {
		name  string
		setUp func(*bench, *fakeVault)
		class job.Class
		says  string
		did   string
	}{
		{"a role that is refused", func(_ *bench, v *fakeVault) { v.errs["login"] = denied },
			job.CredentialsDenied, denied.Message, "default login"},
		{"a path that is refused", func(_ *bench, v *fakeVault) {
			v.errs["aws/creds/deployer"] = &credentials.Error{Class: job.CredentialsDenied, Message: "403"}
		}, job.CredentialsDenied, "credential cloud: 403", "default login, default aws/creds/deployer, default revoke"},
		{"a sealed server", func(_ *bench, v *fakeVault) { v.errs["login"] = sealed },
			job.CredentialsUnavailable, sealed.Message, "default login"},
		{"an error without a class", func(_ *bench, v *fakeVault) { v.errs["login"] = errors.New("odd") },
			job.CredentialsUnavailable, "odd", "default login"},
		{"a field that the answer lacks", func(b *bench, v *fakeVault) {
			b.spec.Vault[0].Env["B"] = "secret_kye"
			v.answers["aws/creds/deployer"] = credentials.Answer{Data: map[string]string{"secret": "geheimnis", "id": "x"}}
		}, job.ConfigInvalid, `the answer of aws/creds/deployer has no field "secret_kye"; it has id, secret`,
			"default login, default aws/creds/deployer, default revoke"},
		{"an answer without any field", func(*bench, *fakeVault) {},
			job.ConfigInvalid, `has no field "secret": it has none at all`,
			"default login, default aws/creds/deployer, default revoke"},
		{"one variable from two credentials", func(b *bench, _ *fakeVault) {
			b.credential("old", map[string]string{"AWS_SECRET": "other"})
		}, job.ConfigInvalid, "environment variable AWS_SECRET comes from both credential old and credential cloud", ""},
		{"a lease that ends too soon", func(_ *bench, v *fakeVault) {
			v.answers["aws/creds/deployer"] = leased(30*time.Second, false)
		}, job.CredentialsExpired, "the lease of aws/creds/deployer is 30s long and can't be renewed, and Terraform is " +
			"interrupted 1m0s before such an end", "default login, default aws/creds/deployer, default revoke"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			b.useFake("apply")
			v := b.useVault(cloudCredential())
			test.setUp(b, v)
			got := b.run(t.Context())
			if got.Class != test.class || !strings.Contains(got.Message, test.says) {
				t.Errorf("got %s: %s", got.Class, got.Message)
			}
			if strings.Contains(got.Message+b.log.String(), "geheimnis") {
				t.Error("a secret is told")
			}
			if _, err := os.Stat(filepath.Join(b.cfg.Paths.Work, "calls.apply")); err == nil {
				t.Error("Terraform was started all the same")
			}
			b.checkVault(v, test.did)
			b.checkReports(got)
		})
	}
}

// TestVaultTakesTooLong: time's end is Vault's fault, and not that of a step that hangs.
func TestVaultTakesTooLong(t *testing.T) {
	b := newBench(t)
	b.useFake("apply")
	b.useVault(cloudCredential())
	b.cfg.Params.Timeouts.Credentials = 20 * time.Millisecond
	b.cfg.Login = func(ctx context.Context, _ credentials.Config) (Session, error) {
		<-ctx.Done()
		return nil, &credentials.Error{Class: job.CredentialsUnavailable, Message: "503 no leader"}
	}
	got := b.run(t.Context())
	if got.Class != job.CredentialsUnavailable || got.Message != "503 no leader (tried for 20ms)" {
		t.Errorf("got %s: %s", got.Class, got.Message)
	}
}

// TestVaultAndTheEndOfThePod: a Pod that is told to stop while it waits for Vault is canceled, not refused.
func TestVaultAndTheEndOfThePod(t *testing.T) {
	b := newBench(t)
	b.useFake("apply")
	b.useVault(cloudCredential())
	ctx, cancel := context.WithCancel(t.Context())
	b.cfg.Login = func(ctx context.Context, _ credentials.Config) (Session, error) {
		cancel()
		<-ctx.Done()
		return nil, &credentials.Error{Class: job.CredentialsUnavailable, Message: "503 no leader"}
	}
	if got := b.run(ctx); got.Class != job.Canceled {
		t.Errorf("got %s: %s", got.Class, got.Message)
	}
}

// TestCredentialsThatEnd: Terraform is interrupted as for a deadline, its state is saved, and the class says why.
func TestCredentialsThatEnd(t *testing.T) {
	b := newBench(t)
	b.useFake("hangs")
	v := b.useVault(cloudCredential())
	v.answers["aws/creds/deployer"] = leased(time.Hour, true)
	v.keep = &credentials.Error{Class: job.CredentialsExpired, Message: "the lease of aws/creds/deployer ends at noon"}
	b.log.on("Creating...", func() { close(v.keeping) })
	got := b.run(t.Context())
	if got.Class != job.CredentialsExpired || got.Message != "the lease of aws/creds/deployer ends at noon" {
		t.Errorf("got %s: %s", got.Class, got.Message)
	}
	if got.StateSerial != 7 || b.state.lock != "" {
		t.Errorf("state %d, lock %q", got.StateSerial, b.state.lock)
	}
	b.checkVault(v, "default login, default aws/creds/deployer, default revoke")
}

// TestRevocationOfACanceledRun: it comes after the report, for which somebody waits.
func TestRevocationOfACanceledRun(t *testing.T) {
	b := newBench(t)
	b.useFake("hangs")
	v := b.useVault(cloudCredential())
	v.answers["aws/creds/deployer"] = leased(time.Hour, true)
	ctx, cancel := context.WithCancel(t.Context())
	b.log.on("Creating...", cancel)
	reported := false
	v.before = func(what string) {
		if what == "default revoke" {
			_, err := os.Stat(b.cfg.Paths.Termination)
			reported = err == nil
		}
	}
	if got := b.run(ctx); got.Class != job.Canceled || !reported {
		t.Errorf("got %s: %s; reported before the revocation: %v", got.Class, got.Message, reported)
	}
	b.checkVault(v, "default login, default aws/creds/deployer, default revoke")
}

// TestFreshCredentials: a cloud that doesn't know them yet is asked again, and only then.
func TestFreshCredentials(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer credentials.Answer
		class  job.Class
		plans  int
	}{
		{"made for this Run", leased(time.Hour, true), job.Applied, 5},
		{"that have been there before", leased(0, false), job.CredentialsDenied, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			b.useFake("refused")
			v := b.useVault(cloudCredential())
			v.answers["aws/creds/deployer"] = test.answer
			got := b.run(t.Context())
			plan := slices.IndexFunc(got.Steps, func(s job.Step) bool { return s.Name == "plan" })
			if got.Class != test.class || got.Steps[plan].Attempts != test.plans {
				t.Errorf("got %s: %s, %+v", got.Class, got.Message, got.Steps)
			}
			fetched := 0
			for _, what := range v.did {
				if what == "default aws/creds/deployer" {
					fetched++
				}
			}
			if fetched != 1 {
				t.Errorf("credentials were fetched %d times", fetched)
			}
		})
	}
}

// TestAccessorsComeFirst: nothing is read that nobody could revoke, but a state service that doesn't take the accessors
// is no reason not to run.
func TestAccessorsComeFirst(t *testing.T) {
	for _, status := range []int{0, http.StatusBadRequest} {
		b := newBench(t)
		b.useFake("nochange")
		v := b.useVault(cloudCredential())
		v.answers["aws/creds/deployer"] = leased(time.Hour, true)
		var told bool
		b.state.answer = func(_, path string, _ int) int {
			if path != "/runs/vpn-1/accessors" {
				return 0
			}
			v.mu.Lock()
			defer v.mu.Unlock()
			told = len(v.did) == 1
			return status
		}
		if got := b.run(t.Context()); got.Class != job.NoChanges || !told {
			t.Errorf("state service answers %d: got %s: %s; accessors first: %v", status, got.Class, got.Message, told)
		}
	}
}

// TestLibrary: the driver's session is the library's.
func TestLibrary(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, strings.TrimPrefix(r.URL.Path, "/v1/"))
		switch r.URL.Path {
		case "/v1/auth/jwt/login":
			_, _ = w.Write([]byte(`{"auth": {"client_token": "t", "accessor": "a", "lease_duration": 600, "renewable": true}}`))
		case "/v1/aws/creds/deployer":
			_, _ = w.Write([]byte(`{"lease_id": "l", "lease_duration": 600, "data": {"secret": "geheimnis"}}`))
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	t.Cleanup(server.Close)
	b := newBench(t)
	b.useFake("environ")
	b.useVault(cloudCredential())
	b.cfg.Params.Vault.Address = server.URL
	b.cfg.Login = func(ctx context.Context, cfg credentials.Config) (Session, error) {
		cfg.Clock = clock.RealClock{}
		return credentials.Login(ctx, cfg)
	}
	if got := b.run(t.Context()); got.Class != job.NoChanges {
		t.Errorf("got %s: %s", got.Class, got.Message)
	}
	if environ := b.read(filepath.Join(b.cfg.Paths.Work, "environ")); !strings.Contains(environ, "AWS_SECRET=geheimnis") {
		t.Errorf("Terraform's environment is %s", environ)
	}
	want := []string{"auth/jwt/login", "aws/creds/deployer", "auth/token/renew-self", "auth/token/revoke-self"}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Error(diff)
	}
}
