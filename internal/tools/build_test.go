package tools

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"k8s.io/utils/clock"
)

// tiny is a build of a module with nothing in it but the given program.
func tiny(t *testing.T, program string) job {
	t.Helper()
	source := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module tiny\n", "main.go": program} {
		if err := os.WriteFile(filepath.Join(source, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return job{
		tool: tool{packages: []string{"."}, rename: map[string]string{"tiny": "renamed"}},
		name: "tiny", source: source, target: filepath.Join(t.TempDir(), "tools", "tiny-1"),
		log: t.Logf, clock: clock.RealClock{},
	}
}

func TestTwoCallersBuildOnce(t *testing.T) {
	j := tiny(t, "package main\nfunc main() {}\n")
	var builds atomic.Int32
	j.log = func(format string, _ ...any) {
		if strings.HasPrefix(format, "building") {
			builds.Add(1)
		}
	}
	var callers sync.WaitGroup
	for range 3 {
		callers.Go(func() {
			if err := j.run(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	if got := builds.Load(); got != 1 {
		t.Errorf("built %d times, want once", got)
	}
	if path, err := only(j.target); err != nil || filepath.Base(path) != "renamed" {
		t.Errorf("the binary is %s (%v), want renamed", path, err)
	}
}

func TestAFailedBuildLeavesNothingAndSaysWhy(t *testing.T) {
	j := tiny(t, "package main\nfunc main() { undefined() }\n")
	err := j.run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "undefined: undefined") {
		t.Errorf("run = %v, want the compiler's words", err)
	}
	entries, err := os.ReadDir(filepath.Dir(j.target))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if entry.IsDir() {
			t.Errorf("left behind: %s", entry.Name())
		}
	}
}
