package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Everything of the cluster lives below one control group: the components in <cgroup>/system, the Pods, by the
// kubelet's doing, in <cgroup>/kubepods. A process in there is ours, whatever became of its parent; a process that
// is not in there is not ours.

const cgroupMount = "/sys/fs/cgroup"

// unified tells whether the machine has cgroup v2 alone. With v1, each controller has a tree of its own.
func unified() bool { return exists(filepath.Join(cgroupMount, "cgroup.controllers")) }

// cgroupRoots lists our group in every tree.
func cgroupRoots() []string {
	if unified() {
		return []string{filepath.Join(cgroupMount, cgroup)}
	}
	var roots []string
	for _, name := range v1Controllers() {
		roots = append(roots, filepath.Join(cgroupMount, name, cgroup))
	}
	return roots
}

func v1Controllers() []string {
	entries, _ := os.ReadDir(cgroupMount)
	var names []string
	for _, entry := range entries {
		if exists(filepath.Join(cgroupMount, entry.Name(), "cgroup.procs")) {
			names = append(names, entry.Name())
		}
	}
	return names
}

// trackingGroup is where the supervisor enters itself, so that its children are born there.
func trackingGroup() string {
	if unified() {
		return filepath.Join(cgroupMount, cgroup, "system")
	}
	return filepath.Join(cgroupMount, "pids", cgroup, "system")
}

func makeCgroups() error {
	for _, root := range cgroupRoots() {
		if err := os.MkdirAll(root, 0o755); err != nil {
			return fmt.Errorf("making a control group: %w", err)
		}
		inheritCpuset(root)
	}
	if err := os.MkdirAll(trackingGroup(), 0o755); err != nil {
		return fmt.Errorf("making a control group: %w", err)
	}
	return nil
}

// inheritCpuset fills in what a v1 cpuset needs before it takes processes; other trees have no such files.
func inheritCpuset(root string) {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(filepath.Dir(root), name))
		if err == nil {
			_ = os.WriteFile(filepath.Join(root, name), value, 0o600)
		}
	}
}

// enterCgroup moves this process into the tracking group.
func enterCgroup() error {
	procs := filepath.Join(trackingGroup(), "cgroup.procs")
	if err := os.WriteFile(procs, []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		return fmt.Errorf("entering the control group: %w", err)
	}
	return nil
}

// ourProcesses lists the living processes of the cluster.
func ourProcesses() []int {
	var pids []int
	for _, root := range cgroupRoots() {
		for _, group := range groupsBelow(root) {
			text, _ := os.ReadFile(filepath.Join(group, "cgroup.procs"))
			for field := range strings.FieldsSeq(string(text)) {
				if pid, err := strconv.Atoi(field); err == nil {
					pids = append(pids, pid)
				}
			}
		}
	}
	slices.Sort(pids)
	return slices.Compact(pids)
}

// killProcesses ends what runs below our group, again and again, because a process may have forked meanwhile.
func killProcesses(ctx context.Context) error {
	return eventually(ctx, func(context.Context) error {
		pids := ourProcesses()
		for _, pid := range pids {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("killing process %d: %w", pid, err)
			}
		}
		if len(pids) > 0 {
			return fmt.Errorf("%d processes of the cluster still live", len(pids))
		}
		return nil
	})
}

func removeCgroups(ctx context.Context) error {
	return eventually(ctx, func(context.Context) error {
		var errs []error
		for _, root := range cgroupRoots() {
			for _, group := range groupsBelow(root) {
				if err := syscall.Rmdir(group); err != nil && !errors.Is(err, fs.ErrNotExist) {
					errs = append(errs, fmt.Errorf("removing control group %s: %w", group, err))
				}
			}
		}
		return errors.Join(errs...)
	})
}

// groupsBelow lists a group and all inside it, the innermost first.
func groupsBelow(root string) []string {
	var groups []string
	_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() { // what vanishes during the walk is no loss
			groups = append(groups, path)
		}
		return nil
	})
	slices.Reverse(groups)
	return groups
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
