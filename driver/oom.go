package driver

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// cgroupRoot is where a container sees its own cgroup.
const cgroupRoot = "/sys/fs/cgroup"

// oomKills counts the processes of this container that the kernel has killed for want of memory. A driver that outlives
// Terraform is the only one who can tell: the kubelet reports it of the container's first process alone.
func oomKills(root string) int {
	for _, file := range []string{"memory.events", "memory/memory.oom_control"} { // cgroup v2, v1
		b, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			if fields := strings.Fields(line); len(fields) == 2 && fields[0] == "oom_kill" {
				n, _ := strconv.Atoi(fields[1]) // the kernel's own number
				return n
			}
		}
	}
	return 0
}

// outOfMemory corrects a failure's class: a provider or an engine that was killed only says that a plugin or it itself
// is gone.
func outOfMemory(c job.Class, kills int) job.Class {
	switch c {
	case job.Canceled, job.TimedOut, job.Stalled, job.CredentialsExpired:
		return c
	}
	if kills > 0 {
		return job.OOMKilled
	}
	return c
}
