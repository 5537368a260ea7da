package driver

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/driver/job"
)

var unexported = cmp.AllowUnexported(process{})

func TestParseStat(t *testing.T) {
	tests := []struct {
		stat string
		want process
		ok   bool
	}{
		{"12 (terraform) S 1 12 12 0 -1", process{12, 1, 12, "terraform"}, true},
		{"13 (a (b) c) S 12 12 12 0", process{13, 12, 12, "a (b) c"}, true},
		{"13 (a) S", process{}, false},
		{"", process{}, false},
		{"x (a) S 1 1", process{}, false},
	}
	for _, test := range tests {
		got, err := parseStat([]byte(test.stat))
		if diff := cmp.Diff(test.want, got, unexported); diff != "" && test.ok || (err == nil) != test.ok {
			t.Errorf("%q: %+v, %v", test.stat, got, err)
		}
	}
}

func TestWhoIsKilled(t *testing.T) {
	all := []process{
		{1, 0, 1, "plumbline-driver"},
		{20, 1, 20, "terraform"},
		{21, 20, 20, "terraform-provider-aws_v5.0.0_x5"},
		{22, 20, 20, "sh"}, // a provisioner's
		{23, 22, 20, "terraform-provider-of-a-grandchild"},
		{30, 7, 30, "terraform"}, // of somebody else
		{31, 30, 30, "terraform-provider-aws_v5.0.0_x5"},
	}
	if diff := cmp.Diff([]process{all[1]}, engines(all, 1), unexported); diff != "" {
		t.Errorf("engines (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]process{all[2], all[4]}, providers(all, 1), unexported); diff != "" {
		t.Errorf("providers (-want +got):\n%s", diff)
	}
}

func TestProcessesFindThisOne(t *testing.T) {
	for _, p := range processes() {
		if p.pid == os.Getpid() && p.parent == os.Getppid() && p.name == filepath.Base(os.Args[0]) {
			return
		}
	}
	t.Error("the test's own process is not in the list")
}

func TestOOMKills(t *testing.T) {
	tests := []struct {
		name, file, content string
		want                int
	}{
		{"v2", "memory.events", "low 0\noom 3\noom_kill 2\noom_group_kill 0\n", 2},
		{"v1", "memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n", 4},
		{"neither", "other", "", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := oomKills(tree(t, map[string]string{test.file: test.content})); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
}

func TestOutOfMemory(t *testing.T) {
	tests := []struct {
		class job.Class
		kills int
		want  job.Class
	}{
		{job.ApplyFailed, 0, job.ApplyFailed},
		{job.ApplyFailed, 1, job.OOMKilled},
		{job.Canceled, 1, job.Canceled},
		{job.TimedOut, 1, job.TimedOut},
		{job.Stalled, 1, job.Stalled},
	}
	for _, test := range tests {
		if got := outOfMemory(test.class, test.kills); got != test.want {
			t.Errorf("%s with %d kills: %s, want %s", test.class, test.kills, got, test.want)
		}
	}
}
