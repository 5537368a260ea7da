package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const sweepTimeout = 60 * time.Second

// isLeftover tells whether something of a cluster is on the machine.
func isLeftover() bool {
	traces := append(cgroupRoots(), runFolder, dataFolder, filepath.Join("/sys/class/net", bridge))
	return slices.ContainsFunc(traces, exists)
}

// sweep removes everything that a cluster leaves on the machine, however it ended. It finds things by our names, not
// by what was written down, so that it works after a crash at any moment; what is missing already is fine.
func sweep(ctx context.Context) error {
	if !isLeftover() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, sweepTimeout)
	defer cancel()
	// The order matters: processes hold mounts and groups, mounts hold namespaces, namespaces hold interfaces.
	steps := []struct {
		name string
		do   func(context.Context) error
	}{
		{"processes", killProcesses},
		{"mounts", removeMounts},
		{"network", removeNetwork},
		{"control groups", removeCgroups},
		{"files", removeFiles},
	}
	var errs []error
	for _, step := range steps {
		if err := step.do(ctx); err != nil {
			errs = append(errs, fmt.Errorf("sweeping %s: %w", step.name, err))
		}
	}
	return errors.Join(errs...)
}

func removeMounts(ctx context.Context) error {
	return eventually(ctx, func(context.Context) error {
		mounts, err := ourMounts()
		if err != nil {
			return err
		}
		for _, mount := range mounts {
			// A mount may be gone together with the one it stood on.
			if err := syscall.Unmount(mount, syscall.MNT_DETACH); err != nil && !errors.Is(err, syscall.EINVAL) {
				return fmt.Errorf("unmounting %s: %w", mount, err)
			}
		}
		if len(mounts) > 0 {
			return fmt.Errorf("%d mounts of the cluster are left", len(mounts))
		}
		return nil
	})
}

// ourMounts lists the mounts below our folders, the latest first.
func ourMounts() ([]string, error) {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	var mounts []string
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		point := strings.ReplaceAll(fields[4], `\040`, " ")
		if strings.HasPrefix(point, runFolder+"/") || strings.HasPrefix(point, dataFolder+"/") {
			mounts = append(mounts, point)
		}
	}
	slices.Reverse(mounts)
	return mounts, lines.Err()
}

// removeFiles also removes the few files that programs write outside our folders.
func removeFiles(context.Context) error {
	for _, socket := range shimSockets() {
		_ = os.Remove(socket)
	}
	removeLogLinks()
	leases, _ := filepath.Glob("/var/lib/cni/results/" + nodeName + "-*")
	for _, lease := range leases {
		_ = os.Remove(lease)
	}
	return errors.Join(os.RemoveAll(dataFolder), os.RemoveAll(runFolder))
}

// shimSockets lists the sockets that shims have in containerd's fixed folder: a killed shim leaves its own.
func shimSockets() []string {
	var sockets []string
	bundles, _ := filepath.Glob(run("containerd", "io.containerd.runtime.v2.task", "k8s.io", "*", "bootstrap.json"))
	for _, bundle := range bundles {
		var shim struct {
			Address string `json:"address"`
		}
		text, err := os.ReadFile(bundle)
		if err != nil || json.Unmarshal(text, &shim) != nil {
			continue // a shim that was killed before it served has no socket
		}
		sockets = append(sockets, strings.TrimPrefix(shim.Address, "unix://"))
	}
	return sockets
}

// removeLogLinks: the kubelet links every container's log from a fixed folder.
func removeLogLinks() {
	links, _ := filepath.Glob("/var/log/containers/*.log")
	for _, link := range links {
		target, err := os.Readlink(link)
		if err == nil && strings.HasPrefix(target, dataFolder+"/") {
			_ = os.Remove(link)
		}
	}
}
