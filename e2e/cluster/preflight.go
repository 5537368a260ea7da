package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/plumbline-dev/plumbline/internal/tools"
)

// ErrMachine says that this machine can't carry the cluster; the message says what to do about it.
var ErrMachine = errors.New("this machine can't run the cluster")

// wantsSpace is room for images, etcd and the Pods' files.
const wantsSpace = 3 << 30

// preflight looks at the machine before anything is changed on it.
func preflight(ctx context.Context, log tools.Logf) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: it starts containers, so it has to run as root (sudo)", ErrMachine)
	}
	if err := tools.Debian(ctx, log, "iptables", "iproute2", "mount"); err != nil {
		return err
	}
	for _, check := range []func() error{checkControllers, checkSpace, checkOverlay} {
		if err := check(); err != nil {
			return fmt.Errorf("%w: %w", ErrMachine, err)
		}
	}
	return nil
}

// checkFree looks for what others may hold, once nothing of an earlier cluster is left.
func checkFree(ctx context.Context) error {
	if err := checkPorts(); err != nil {
		return fmt.Errorf("%w: %w", ErrMachine, err)
	}
	return checkOtherNode(ctx)
}

func checkControllers() error {
	if unified() {
		return nil
	}
	have := strings.Join(v1Controllers(), " ")
	for _, name := range []string{"cpu", "cpuacct", "cpuset", "memory", "pids"} {
		if !exists(filepath.Join(cgroupMount, name, "cgroup.procs")) {
			return fmt.Errorf("the kernel has no %q control groups below %s (only: %s)", name, cgroupMount, have)
		}
	}
	return nil
}

func checkSpace() error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs("/var/lib", &fs); err != nil {
		return fmt.Errorf("looking at the free space: %w", err)
	}
	if free := fs.Bavail * uint64(fs.Bsize); free < wantsSpace {
		return fmt.Errorf("no space: %d MiB are free in /var/lib, and %d are needed", free>>20, wantsSpace>>20)
	}
	return nil
}

// checkOverlay mounts one: whether it works depends on the kernel, its rights and the file system below.
func checkOverlay() error {
	base, err := os.MkdirTemp("/var/lib", "plumbline-overlay-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(base) }()
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(base, name), 0o755); err != nil {
			return err
		}
	}
	options := fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", base)
	merged := filepath.Join(base, "merged")
	if err := syscall.Mount("overlay", merged, "overlay", 0, options); err != nil {
		return fmt.Errorf("overlay mounts don't work in /var/lib (is it an overlay or a network disk itself?): %w", err)
	}
	return syscall.Unmount(merged, 0)
}

// checkPorts tries the fixed ports on the loopback address; those on the bridge's address can't be taken yet.
func checkPorts() error {
	ports := map[string]string{
		"12379": "etcd", "12380": "etcd", "10248": "kubelet", "10257": "kube-controller-manager",
		"10259": "kube-scheduler", "10256": "kube-proxy", "10249": "kube-proxy", "8181": "coredns",
	}
	for port, name := range ports {
		listener, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			return fmt.Errorf("port %s, which %s needs, is taken: %w", port, name, err)
		}
		_ = listener.Close()
	}
	return nil
}

// checkOtherNode: two nodes on one machine fight over packet rules, and sweeping ours would break the other's.
func checkOtherNode(ctx context.Context) error {
	saved, err := command(ctx, nil, "iptables-save", "-t", "nat")
	if err != nil {
		return fmt.Errorf("%w: its kernel lacks the packet filter: %w", ErrMachine, err)
	}
	if strings.Contains(saved, ":KUBE-SERVICES ") {
		return fmt.Errorf("%w: another Kubernetes node runs on it; use that one (PLUMBLINE_KUBECONFIG) or end it", ErrMachine)
	}
	return nil
}
