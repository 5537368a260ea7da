//go:build integration

package driver

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/internal/realservers"
)

// These tests run real engines against real backends: PostgreSQL, and S3 with lock files.

// backends are servers that all the tests here share.
type backends struct {
	pg *realservers.Postgres
	s3 *realservers.S3
}

func startBackends(t *testing.T) backends {
	t.Helper()
	pg, err := realservers.StartPostgres(t.Context(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pg.Stop() })
	s3, err := realservers.StartS3(t.Context(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s3.Stop() })
	if err := s3.Bucket("states"); err != nil {
		t.Fatal(err)
	}
	return backends{pg, s3}
}

// given is a backend with its secret arguments.
type given struct {
	backend *job.Backend
	secrets map[string]string
}

func raw(values map[string]any) map[string]json.RawMessage {
	out := map[string]json.RawMessage{}
	for name, value := range values {
		out[name], _ = json.Marshal(value)
	}
	return out
}

func (s backends) postgres(schema string) given {
	return given{
		&job.Backend{Type: "pg", Config: raw(map[string]any{"schema_name": schema}), Secret: true},
		map[string]string{"conn_str": s.pg.URL(realservers.Superuser, s.pg.Password)},
	}
}

func (s backends) bucket(key string) given {
	return given{
		&job.Backend{Type: "s3", Secret: true, Config: raw(map[string]any{
			"bucket": "states", "key": key, "region": "us-east-1", "use_path_style": true, "use_lockfile": true,
			"endpoints":                   map[string]any{"s3": s.s3.Endpoint},
			"skip_credentials_validation": true, "skip_metadata_api_check": true, "skip_region_validation": true,
			"skip_requesting_account_id": true, "skip_s3_checksum": true,
		})},
		map[string]string{"access_key": s.s3.AccessKey, "secret_key": s.s3.SecretKey},
	}
}

// own is Plumbline's state service.
var own = given{}

// useBackend gives the bench's next Pod its backend. Former is where the state is moved away from; nil for no move.
func (b *bench) useBackend(wanted given, former *given) {
	b.spec.Backend = wanted.backend
	backend := job.Backend{Type: "http"}
	if wanted.backend != nil {
		backend = *wanted.backend
	}
	override, err := backend.Override()
	b.must(err)
	if !slices.ContainsFunc(b.spec.Files, func(f job.File) bool { return f.Path == job.BackendFile }) {
		b.file(job.BackendFile, "")
	}
	b.must(os.WriteFile(filepath.Join(b.cfg.Paths.Spec, "file-"+job.BackendFile), override, 0o600))
	b.secrets(b.cfg.Paths.Backend, wanted.secrets)
	b.cfg.Params.Place = job.Place{Lineage: b.cfg.Params.Place.Lineage}
	if former != nil {
		b.cfg.Params.Place.Move, b.cfg.Params.Place.From = true, former.backend
		b.secrets(b.cfg.Paths.FormerBackend, former.secrets)
	}
}

func (b *bench) secrets(dir string, values map[string]string) {
	b.must(os.RemoveAll(dir))
	b.must(os.MkdirAll(dir, 0o755))
	for name, value := range values {
		b.must(os.WriteFile(filepath.Join(dir, name), []byte(value), 0o600))
	}
}

// apply is a Run in a new Pod, that is told the lineage which the Run before has reported.
func (b *bench) apply(o job.Operation) job.Result {
	b.t.Helper()
	b.again()
	b.cfg.Params.Operation = o
	got := b.run(b.t.Context())
	if got.StateLineage != "" {
		b.cfg.Params.Place.Lineage = got.StateLineage
	}
	return got
}

// ends checks how a Run ended, and what it changed.
func (b *bench) ends(got job.Result, class job.Class, changes job.Changes) {
	b.t.Helper()
	if got.Class != class || got.Changes == nil || *got.Changes != changes {
		b.t.Fatalf("%s, changes %+v: %s", got.Class, got.Changes, got.Message)
	}
}

// TestRealBackends: a life in each backend, and the outputs are in the state service all the same.
func TestRealBackends(t *testing.T) {
	servers := startBackends(t)
	for name, backend := range map[string]func(string) given{"pg": servers.postgres, "s3": servers.bucket} {
		t.Run(name, func(t *testing.T) {
			withEngines(t, func(t *testing.T, b *bench) {
				b.spec.Files = nil
				b.file("main.tf", hello)
				b.file("terraform.tfvars.json", `{"psk": "geheim"}`)
				b.useBackend(backend(unique(t)), nil)
				b.ends(b.apply(job.Plan), job.Planned, job.Changes{Add: 1})
				got := b.apply(job.Apply)
				b.ends(got, job.Applied, job.Changes{Add: 1})
				if got.StateSerial == 0 || got.StateLineage == "" {
					t.Errorf("serial %d, lineage %q", got.StateSerial, got.StateLineage)
				}
				if string(job.SecretData(b.state.outputs)["psk"]) != "geheim" || strings.Contains(b.log.String(), "geheim") {
					t.Errorf("outputs are %v, or a sensitive value is in the log", b.state.outputs)
				}
				b.ends(b.apply(job.Apply), job.NoChanges, job.Changes{})
				b.ends(b.apply(job.Destroy), job.Applied, job.Changes{Destroy: 1})
				if b.state.state != nil || b.state.lock != "" {
					t.Error("the state service has a state, or a lock")
				}
				for _, secret := range backend("").secrets {
					if strings.Contains(b.log.String(), secret) {
						t.Error("a secret argument is in the log")
					}
				}
			})
		})
	}
}

// unique is a name that suits keys and schemas.
func unique(t *testing.T) string {
	return regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(t.Name()), "_")
}

// TestRealMove moves a state through every kind of place and back to where it began. Each time the plan has no changes.
func TestRealMove(t *testing.T) {
	servers := startBackends(t)
	withEngines(t, func(t *testing.T, b *bench) {
		b.spec.Files = nil
		b.file("main.tf", hello)
		b.file("terraform.tfvars.json", `{"psk": "x"}`)
		pg, s3 := servers.postgres(unique(t)), servers.bucket(unique(t))
		b.useBackend(own, nil)
		b.ends(b.apply(job.Apply), job.Applied, job.Changes{Add: 1})
		at := own
		for i, to := range []given{pg, own, s3, pg, s3, own} {
			b.useBackend(to, &at)
			b.ends(b.apply(job.Apply), job.NoChanges, job.Changes{})
			// Once more: the controller may not have heard that it was moved.
			b.ends(b.apply(job.Apply), job.NoChanges, job.Changes{})
			if i == 0 && !strings.Contains(b.log.String(), ") is there already") {
				t.Error("the log does not say that the state is there already")
			}
			// The state goes on there, so that what is left behind is older.
			b.useBackend(to, nil)
			b.must(os.WriteFile(filepath.Join(b.cfg.Paths.Spec, "file-terraform.tfvars.json"),
				fmt.Appendf(nil, `{"psk": "%d"}`, i), 0o600))
			if got := b.apply(job.Apply); got.Class != job.Applied {
				t.Fatalf("after move %d: %s: %s", i, got.Class, got.Message)
			}
			at = to
		}
		if b.state.lock != "" || strings.Contains(b.log.String(), "Backend configuration changed") {
			t.Errorf("lock %q is left, or Terraform complains of the change", b.state.lock)
		}
	})
}

// TestRealMoveRefuses: nothing is overwritten, and nothing is begun anew.
func TestRealMoveRefuses(t *testing.T) {
	servers := startBackends(t)
	withEngines(t, func(t *testing.T, b *bench) {
		b.spec.Files = nil
		b.file("main.tf", hello)
		b.file("terraform.tfvars.json", `{"psk": "x"}`)
		pg, taken := servers.postgres(unique(t)), servers.bucket(unique(t))
		b.useBackend(taken, nil)
		b.ends(b.apply(job.Apply), job.Applied, job.Changes{Add: 1})
		b.cfg.Params.Place.Lineage = ""
		b.useBackend(pg, nil)
		b.ends(b.apply(job.Apply), job.Applied, job.Changes{Add: 1})

		b.useBackend(taken, &pg)
		if got := b.apply(job.Apply); got.Class != job.ConfigInvalid ||
			!strings.Contains(got.Message, "has another state already") || got.Changes != nil {
			t.Errorf("another state is there: %s: %s", got.Class, got.Message)
		}
		// A Secret that leads to another database, in which there is nothing.
		elsewhere := servers.postgres(unique(t) + "_other")
		b.useBackend(elsewhere, nil)
		if got := b.apply(job.Apply); got.Class != job.StateMissing || !strings.Contains(got.Message, "has no state, and") {
			t.Errorf("the state is gone: %s: %s", got.Class, got.Message)
		}
		gone := servers.postgres(unique(t))
		gone.secrets = map[string]string{"conn_str": "postgres://nobody@127.0.0.1:1/postgres?sslmode=disable"}
		b.useBackend(own, &gone)
		if got := b.apply(job.Apply); got.Class.Succeeded() || b.state.state != nil {
			t.Errorf("the former backend is away: %s: %s", got.Class, got.Message)
		}
		b.useBackend(pg, nil)
		b.ends(b.apply(job.Apply), job.NoChanges, job.Changes{})
	})
}

// hold takes a lock as somebody else, and leaves it.
func (s backends) hold(b *bench, key, id string) {
	b.t.Helper()
	info := fmt.Sprintf(`{"ID":%q,"Operation":"OperationTypeApply","Info":"","Who":"ann@laptop","Version":"1.11.4",`+
		`"Created":"2026-01-02T03:04:05.6Z","Path":"states/x"}`, id)
	b.must(s.s3.Put(b.t.Context(), "states", key+".tflock", []byte(info)))
}

// TestRealLock: a lock that was left is shown with its ID, kept from any other request, and released by its own.
func TestRealLock(t *testing.T) {
	servers := startBackends(t)
	withEngines(t, func(t *testing.T, b *bench) {
		b.spec.Files = nil
		b.file("main.tf", hello)
		b.file("terraform.tfvars.json", `{"psk": "x"}`)
		s3 := servers.bucket(unique(t))
		b.useBackend(s3, nil)
		b.ends(b.apply(job.Apply), job.Applied, job.Changes{Add: 1})
		const id, other = "7f2ac1d4-98a1-4b4d-9d5e-0f3a4f8f4f11", "11111111-98a1-4b4d-9d5e-0f3a4f8f4f11"
		servers.hold(b, unique(t), id)
		const want = "the state is locked: lock " + id + " of ann@laptop for Apply since 2026-01-02 03:04:05.6 +0000 UTC; " +
			"once nobody works on it any more, release it by the annotation plumbline.dev/unlock: " + id + " of the Workspace"
		for _, ask := range []string{"", other} {
			b.cfg.Params.ForceUnlock = ask
			if got := b.apply(job.Apply); got.Class != job.StateLocked || got.Message != want {
				t.Errorf("asked for %q: %s: %s", ask, got.Class, got.Message)
			}
		}
		b.cfg.Params.ForceUnlock = id
		b.ends(b.apply(job.Apply), job.NoChanges, job.Changes{})
		if !strings.Contains(b.log.String(), "released by request: lock "+id) {
			t.Error("the log doesn't say so")
		}
		b.ends(b.apply(job.Destroy), job.Applied, job.Changes{Destroy: 1})
	})
}

// TestRealKill kills Terraform in the middle of an apply: the lock is this Run's own, and is released.
func TestRealKill(t *testing.T) {
	servers := startBackends(t)
	withEngines(t, func(t *testing.T, b *bench) {
		b.spec.Files = nil
		b.mirror()
		b.file("main.tf", sleeper)
		s3 := servers.bucket(unique(t))
		b.useBackend(s3, nil)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		b.log.on("time_sleep.long: Creating...", killEngines)
		b.again()
		got := b.run(ctx)
		const released = "Released what a killed Terraform of this Run has left"
		if got.Class.Succeeded() || !strings.Contains(b.log.String(), released) {
			t.Errorf("%s: %s", got.Class, got.Message)
		}
	})
}

// TestRealArguments: what an engine might evaluate arrives unchanged, and what is secret is in no list of processes.
func TestRealArguments(t *testing.T) {
	servers := startBackends(t)
	withEngines(t, func(t *testing.T, b *bench) {
		b.spec.Files = nil
		b.file("main.tf", hello)
		b.file("terraform.tfvars.json", `{"psk": "x"}`)
		s3 := servers.bucket(`${lower("A")}/%{ if true }"ä/` + unique(t))
		b.useBackend(s3, nil)
		b.ends(b.apply(job.Apply), job.Applied, job.Changes{Add: 1})
		if !servers.s3.Has(t.Context(), "states", `${lower("A")}/%{ if true }"ä/`+unique(t)) {
			t.Error("there is no object of this name")
		}
	})
}

// TestRealForeignFolder: a module in the image that was initialized elsewhere is set up anew, in ours and in another.
func TestRealForeignFolder(t *testing.T) {
	servers := startBackends(t)
	withEngines(t, func(t *testing.T, b *bench) {
		b.spec.Files = nil
		b.spec.ImagePath = t.TempDir()
		b.must(os.MkdirAll(filepath.Join(b.spec.ImagePath, ".terraform"), 0o755))
		b.must(os.WriteFile(filepath.Join(b.spec.ImagePath, "main.tf"), []byte(hello), 0o600))
		b.must(os.WriteFile(filepath.Join(b.spec.ImagePath, ".terraform", "terraform.tfstate"), []byte(`{"version": 3,
			"backend": {"type": "s3", "config": {"bucket": "theirs", "key": "k", "region": "eu-west-1"}, "hash": 1}}`), 0o600))
		b.file("terraform.tfvars.json", `{"psk": "x"}`)
		for _, backend := range []given{own, servers.postgres(unique(t))} {
			b.useBackend(backend, nil)
			b.cfg.Params.Place.Lineage = "" // each is the first
			b.ends(b.apply(job.Apply), job.Applied, job.Changes{Add: 1})
		}
	})
}
