package driver

import (
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// cgroup is a container's cgroup v2 with a limit of 1 GiB.
func cgroup(t *testing.T, files map[string]string) string {
	all := map[string]string{
		"memory.max": "1073741824\n", "memory.current": "1073000000\n", "memory.peak": "1073000000\n",
		"memory.stat": "anon 1060000000\nfile 10000\nshmem 10000\n", "memory.oom.group": "1\n",
	}
	maps.Copy(all, files)
	return tree(t, all)
}

// TestTheLargestProviderGoesFirst: before the kernel ends the whole container the driver kills what takes the memory,
// and the state is saved.
func TestTheLargestProviderGoesFirst(t *testing.T) {
	b := newBench(t)
	b.useFake("stuck")
	b.cfg.Paths.Cgroup = cgroup(t, nil)
	got := b.run(t.Context())
	if got.Class != job.OOMKilled || got.StateSerial != 8 || b.state.lock != "" {
		t.Errorf("%s, serial %d, lock %q", got.Class, got.StateSerial, b.state.lock)
	}
	for _, want := range []string{
		"out of memory: terraform-provider-fake_v1.0.0 with ", " MiB was killed, the container's limit is 1024 MiB",
		"its peak was 1023 MiB: raise spec.podTemplate.resources.limits.memory (Plugin did not respond)",
	} {
		if !strings.Contains(got.Message, want) {
			t.Errorf("%q is not in: %s", want, got.Message)
		}
	}
}

// TestProvidersAreLeftAlone: where there is room, where what is used is cache, and where the kernel kills single
// processes.
func TestProvidersAreLeftAlone(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"there is room":                     {"memory.current": "900000000\n"},
		"it is cache":                       {"memory.stat": "anon 1000000\nfile 900000000\nshmem 0\n"},
		"the kernel kills single processes": {"memory.oom.group": "0\n"},
		"there is no limit":                 {"memory.max": "max\n"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.useFake("stuck")
			b.cfg.Paths.Cgroup = cgroup(t, files)
			b.cfg.Params.Timeouts.Apply, b.cfg.Params.Timeouts.Grace = 5*memoryTick, 5*memoryTick
			b.cfg.KillDelay = time.Minute
			if got := b.run(t.Context()); got.Class != job.TimedOut || got.StateSerial != 8 {
				t.Errorf("%s: %s, serial %d", got.Class, got.Message, got.StateSerial)
			}
		})
	}
}

func TestMemoryMessage(t *testing.T) {
	v1 := tree(t, map[string]string{
		"memory/memory.limit_in_bytes": "2147483648\n", "memory/memory.max_usage_in_bytes": "2147483648\n",
	})
	for _, test := range []struct {
		name   string
		memory *memory
		engine bool
		want   string
	}{
		{"the engine, in cgroup v1", &memory{root: v1}, true, "out of memory: Terraform was killed, the container's limit " +
			"is 2048 MiB, its peak was 2048 MiB: raise spec.podTemplate.resources.limits.memory (signal: killed)"},
		{"something, and nothing is known", &memory{root: t.TempDir()}, false, "out of memory: a process of the runner's " +
			"container was killed: raise spec.podTemplate.resources.limits.memory (signal: killed)"},
		{"something, and the largest is known", &memory{root: t.TempDir(), largest: "terraform-provider-x with 9 MiB"}, false,
			"out of memory: a process of the runner's container was killed (the largest was terraform-provider-x with " +
				"9 MiB): raise spec.podTemplate.resources.limits.memory (signal: killed)"},
	} {
		if diff := cmp.Diff(test.want, test.memory.message("signal: killed", test.engine)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// TestGoSavesMemory: engines and providers are told of the container's limit, unless the Pod template tells them.
func TestGoSavesMemory(t *testing.T) {
	for _, test := range []struct{ given, limit, want string }{
		{"", "1000000000", "800000000"}, {"", "max", ""}, {"300MiB", "1000000000", "300MiB"},
	} {
		b := newBench(t)
		if test.given != "" {
			b.env["GOMEMLIMIT"], b.cfg.Params.PassEnv = test.given, []string{"GOMEMLIMIT"}
		}
		r := &run{Config: b.cfg, proxy: &stateProxy{}}
		r.memory.root = tree(t, map[string]string{"memory.max": test.limit})
		env, err := r.terraformEnv()
		if err != nil || env["GOMEMLIMIT"] != test.want {
			t.Errorf("got %s, %v; want %s", env["GOMEMLIMIT"], err, test.want)
		}
	}
}

// TestOneProviderAtATime: what a killed provider had takes a moment to come back. Until then no other one is killed.
func TestOneProviderAtATime(t *testing.T) {
	sleep, err := os.ReadFile("/bin/sleep")
	if err != nil {
		t.Fatal(err)
	}
	provider := filepath.Join(t.TempDir(), "terraform-provider-fake")
	if err := os.WriteFile(provider, sleep, 0o755); err != nil {
		t.Fatal(err)
	}
	engine := exec.Command("/bin/sh", "-c", provider+" 60 & "+provider+" 60 & wait")
	engine.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := engine.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-engine.Process.Pid, syscall.SIGKILL)
		_ = engine.Wait()
	})
	for len(providers(processes(), os.Getpid())) < 2 && t.Context().Err() == nil {
		runtime.Gosched()
	}
	m, log := &memory{root: cgroup(t, nil)}, &logWriter{out: io.Discard}
	for range looksAfterKill + 1 {
		m.look(m.limit(), log)
	}
	if n := m.kills(); n != 1 {
		t.Errorf("%d were killed within a second, want 1: %v", n, m.killed)
	}
	m.look(m.limit(), log)
	if n := m.kills(); n != 2 {
		t.Errorf("%d were killed after it, want 2: %v", n, m.killed)
	}
}
