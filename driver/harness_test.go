package driver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/utils/clock"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// bench is a driver's surroundings: a Pod's folders, a state service, an environment.
type bench struct {
	t     *testing.T
	cfg   Config
	state *fakeState
	env   map[string]string
	spec  job.Spec
	log   *buffer
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, state: newFakeState(t), env: map[string]string{}, log: &buffer{}}
	b.spec.Version = job.Version
	root := t.TempDir()
	b.cfg = Config{
		Params: job.Params{
			Version: job.Version, Namespace: "infra", Workspace: "vpn", Run: "vpn-1", Operation: job.Apply,
			Timeouts: job.Timeouts{Init: time.Minute, Plan: time.Minute, Apply: time.Minute, Grace: time.Minute},
			State:    job.State{URL: b.state.URL, CA: b.state.ca()},
		},
		Paths: Paths{
			Spec: filepath.Join(root, "job"), Work: filepath.Join(root, "workspace"), Temp: filepath.Join(root, "tmp"),
			Credentials: filepath.Join(root, "credentials"), Token: filepath.Join(root, "token"),
			Termination: filepath.Join(root, "termination-log"), Engines: filepath.Join(root, "bin"),
			Backend: filepath.Join(root, "backend"), FormerBackend: filepath.Join(root, "backend-former"),
		},
		LookupEnv:  func(name string) (string, bool) { v, ok := b.env[name]; return v, ok },
		Stdout:     b.log,
		Clock:      clock.RealClock{},
		RetryDelay: time.Millisecond,
	}
	p := b.cfg.Paths
	for _, dir := range []string{p.Spec, p.Work, p.Temp, p.Credentials, p.Engines} {
		b.must(os.MkdirAll(dir, 0o755))
	}
	b.must(os.WriteFile(p.Token, []byte(testToken+"\n"), 0o600))
	return b
}

// file puts a file into the Spec.
func (b *bench) file(path, content string) {
	key := "file-" + strings.ReplaceAll(path, "/", "-")
	b.spec.Files = append(b.spec.Files, job.File{Key: key, Path: path})
	b.must(os.WriteFile(filepath.Join(b.cfg.Paths.Spec, key), []byte(content), 0o600))
}

// given is what is mounted by now.
func (b *bench) given() mounted {
	b.t.Helper()
	m, err := readMounted(b.cfg.Paths.Spec)
	b.must(err)
	return m
}

// credential mounts a credential in the way of the kubelet.
func (b *bench) credential(name string, data map[string]string) {
	b.spec.Credentials = append(b.spec.Credentials, name)
	dir := filepath.Join(b.cfg.Paths.Credentials, name)
	b.must(os.MkdirAll(filepath.Join(dir, "..2026"), 0o755))
	b.must(os.Symlink("..2026", filepath.Join(dir, "..data")))
	for key, value := range data {
		b.must(os.WriteFile(filepath.Join(dir, "..2026", key), []byte(value), 0o600))
		b.must(os.Symlink(filepath.Join("..data", key), filepath.Join(dir, key)))
	}
}

func (b *bench) writeSpec() {
	spec, err := json.Marshal(b.spec)
	b.must(err)
	b.must(os.WriteFile(filepath.Join(b.cfg.Paths.Spec, job.SpecFile), spec, 0o600))
}

func (b *bench) run(ctx context.Context) job.Result {
	b.writeSpec()
	result := Run(ctx, b.cfg)
	b.t.Logf("log of the driver:\n%s", b.log)
	return result
}

// reported are the Results that left by the two ways.
func (b *bench) reported() (wire []job.Result, message job.Result) {
	text, err := os.ReadFile(b.cfg.Paths.Termination)
	b.must(err)
	message, err = job.Parse(string(text))
	b.must(err)
	b.state.mu.Lock()
	defer b.state.mu.Unlock()
	return b.state.results, message
}

// again gives the bench a new Pod: what stays is the state service.
func (b *bench) again() {
	b.must(os.RemoveAll(b.cfg.Paths.Work))
	b.must(os.MkdirAll(b.cfg.Paths.Work, 0o755))
}

// calls counts the starts of the engine with a command.
func (b *bench) calls(command string) int {
	b.t.Helper()
	calls, err := os.ReadFile(filepath.Join(b.cfg.Paths.Work, "calls."+command))
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	b.must(err)
	return bytes.Count(calls, []byte("\n"))
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// buffer is a bytes.Buffer for several goroutines, that tells when a text has come.
type buffer struct {
	mu   sync.Mutex
	b    bytes.Buffer
	text string
	then func()
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, err := b.b.Write(p)
	if b.then != nil && strings.Contains(b.b.String(), b.text) {
		b.then()
		b.then = nil
	}
	return n, err
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// on calls then as soon as text was written.
func (b *buffer) on(text string, then func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text, b.then = text, then
}
