package driver

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/driver/job"
)

const remote = "remote.tfstate"

// remoteState plays a backend that isn't Plumbline's own: a file, that can't be written the first two times.
func (c call) remoteState() int {
	switch c.args[0] {
	case "pull":
		state, _ := os.ReadFile(remote)
		_, _ = os.Stdout.Write(state)
	case "push":
		state, _ := os.ReadFile(c.args[len(c.args)-1])
		if c.nth < 4 || os.Getenv(pushesVariable) != "" || !slices.Contains(c.args, "-lock=true") {
			fmt.Fprintln(os.Stderr, "\x1b[31mFailed to persist state: the bucket is away\x1b[0m")
			return 1
		}
		_ = os.WriteFile(remote, state, 0o600)
	}
	return 0
}

// abroad can't save its state the first time.
func abroad(c call) int {
	if c.command == "taint" || c.nth > 1 {
		c.say("nochange")
		return 0
	}
	_ = os.WriteFile(erroredState, []byte(stateOf(9)), 0o600)
	c.fail("", "Failed to save state")
	return 1
}

func (b *bench) abroad(arguments map[string]json.RawMessage, secrets map[string]string) {
	b.useFake("abroad")
	b.spec.Backend = &job.Backend{Type: "s3", Config: arguments, Secret: secrets != nil}
	b.must(os.MkdirAll(filepath.Join(b.cfg.Paths.Backend, "..data"), 0o755))
	for name, value := range secrets {
		b.must(os.WriteFile(filepath.Join(b.cfg.Paths.Backend, name), []byte(value), 0o600))
	}
}

// TestRescueInAForeignBackend: a state that could not be saved gets there at last, and the Run goes on.
func TestRescueInAForeignBackend(t *testing.T) {
	b := newBench(t)
	b.abroad(nil, nil)
	got := b.run(t.Context())
	if got.Class != job.NoChanges || got.StateLineage != "" || got.Changes == nil {
		t.Errorf("%s: %s", got.Class, got.Message)
	}
	if saved, _ := os.ReadFile(filepath.Join(b.cfg.Paths.Work, remote)); string(saved) != stateOf(9) {
		t.Errorf("saved: %s", saved)
	}
	const why = "Saving the state failed (Failed to persist state: the bucket is away)"
	if !strings.Contains(b.log.String(), why) {
		t.Error("the log doesn't say what went wrong")
	}
	if slices.ContainsFunc(b.state.asked, func(a string) bool { return strings.HasSuffix(a, " /state") }) {
		t.Errorf("the state service was asked %q", b.state.asked)
	}
}

// TestSecretArguments stand in a file that only this user can read, escaped, and not among the arguments.
func TestSecretArguments(t *testing.T) {
	b := newBench(t)
	b.abroad(map[string]json.RawMessage{
		"bucket": []byte(`"b"`), "key": []byte(`"${x}/%{y}"`), "roles": []byte(`{"arn": "${z}"}`),
	}, map[string]string{"access_key": "quote \" and ${a}\nnewline é", "secret_key": "geheim"})
	b.run(t.Context())
	path := filepath.Join(b.cfg.Paths.Temp, "plumbline-backend.tfbackend")
	content, err := os.ReadFile(path)
	b.must(err)
	const want = `access_key = "quote \" and $${a}\nnewline é"
key        = "$${x}/%%{y}"
roles = {
  arn = "$${z}"
}
secret_key = "geheim"
`
	if diff := cmp.Diff(want, string(content)); diff != "" {
		t.Error(diff)
	}
	info, err := os.Stat(path)
	b.must(err)
	calls, err := os.ReadFile(filepath.Join(b.cfg.Paths.Work, "calls.init"))
	b.must(err)
	if info.Mode().Perm() != 0o600 || strings.Contains(string(calls), "geheim") ||
		!strings.Contains(string(calls), "-reconfigure -backend-config="+path) {
		t.Errorf("mode %s, arguments %s", info.Mode(), calls)
	}
	override, err := os.ReadFile(filepath.Join(b.cfg.Paths.Work, job.BackendFile))
	b.must(err)
	if text := string(override); !strings.Contains(text, `"bucket": "b"`) || strings.ContainsAny(text, "$%") {
		t.Errorf("override: %s", text)
	}
}

func TestANameThatIsNoArgumentIsRefused(t *testing.T) {
	b := newBench(t)
	b.abroad(nil, map[string]string{"tls.crt": "x"})
	want := `spec.backend: "tls.crt" can't be the name of a backend's argument`
	if got := b.run(t.Context()); got.Class != job.ConfigInvalid || got.Message != want {
		t.Errorf("%s: %s", got.Class, got.Message)
	}
}

func TestAnotherStateThanTheLastRunLeftIsRefused(t *testing.T) {
	for name, state := range map[string]string{"none": "", "another": stateOf(3)} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.abroad(nil, nil)
			b.file(remote, state)
			b.cfg.Params.Place.Lineage = "y"
			got := b.run(t.Context())
			if got.Class != job.StateMissing || !strings.Contains(got.Message, "the last Run left the state of lineage y") {
				t.Errorf("%s: %s", got.Class, got.Message)
			}
		})
	}
}

func TestParseLock(t *testing.T) {
	tests := []struct {
		name, text, want string
	}{
		{"in JSON's detail", `Error acquiring the state lock: Error message: operation error S3, PreconditionFailed
Lock Info:
  ID:        1-2
  Path:      b/k
  Operation: OperationTypeApply
  Who:       ann@laptop
  Version:   1.11.4
  Created:   2026-01-02 03:04:05.6 +0000 UTC
  Info:      

Terraform acquires a state lock`, "lock 1-2 of ann@laptop for Apply since 2026-01-02 03:04:05.6 +0000 UTC"},
		{"in a box",
			"│ Lock Info:\n│   ID:        1-2\n│   Path:      \n│   Operation: \n│   Who:       @pod",
			"lock 1-2 of @pod"},
		{"without a word of who", "the state is locked", ""},
		{"without an ID", "Lock Info:\n  ID:        \n", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			lock, ok := parseLock(test.text)
			if ok != (test.want != "") || ok && lock.String() != test.want {
				t.Errorf("got %t, %s", ok, lock)
			}
		})
	}
}
