package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/plumbline-dev/plumbline/internal/tools"
)

// ErrMachine says that this machine can't carry the cluster; the message says what to do about it.
var ErrMachine = errors.New("this machine can't run the cluster")

// wantsMiB is room for images, etcd and the Pods' files.
const wantsMiB = 3072

// preflight looks at the machine before anything is changed on it.
func preflight(ctx context.Context, log tools.Logf) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: it starts containers, so it has to run as root (sudo)", ErrMachine)
	}
	if err := tools.Debian(ctx, log, "iptables", "iproute2", "mount"); err != nil {
		return err
	}
	// Where these are modules and not loaded yet; the checks below say what is missing in the end.
	_, _ = command(ctx, nil, "modprobe", "--all", "overlay", "br_netfilter")
	for _, check := range []func() error{checkPrograms, checkControllers, checkBridgeFilter, checkSpace, checkOverlay} {
		if err := check(); err != nil {
			return fmt.Errorf("%w: %w", ErrMachine, err)
		}
	}
	return nil
}

// checkFree looks for what others may hold, once nothing of an earlier cluster is left.
func checkFree(ctx context.Context) error {
	if err := checkPorts(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrMachine, err)
	}
	return checkOtherNode(ctx)
}

// checkPrograms is for machines that have no Debian packages to install.
func checkPrograms() error {
	for _, name := range []string{"iptables-save", "iptables-restore", "ip", "mount", "go"} {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("the program %s is missing: install it", name)
		}
	}
	return nil
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

// checkBridgeFilter: without it, a Pod gets no answer from another Pod that it reached through a Service.
func checkBridgeFilter() error {
	if exists("/proc/sys/net/bridge/bridge-nf-call-iptables") {
		return nil
	}
	return errors.New("the kernel does not filter bridges: try modprobe br_netfilter")
}

func checkSpace() error {
	free, err := tools.FreeMiB("/var/lib")
	if err != nil {
		return err
	}
	if free < wantsMiB {
		return fmt.Errorf("no space: %d MiB are free in /var/lib, and %d are needed", free, wantsMiB)
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

// addresses are tried before the start. The bridge's own address can't be taken yet, because there is no bridge; who
// holds one of its ports on all addresses is found by trying one that nobody uses.
var addresses = map[string]string{
	"127.0.0.1:12379": "etcd", "127.0.0.1:12380": "etcd", "127.0.0.1:10248": "kubelet",
	"127.0.0.1:10257": "kube-controller-manager", "127.0.0.1:10259": "kube-scheduler",
	"127.0.0.1:10256": "kube-proxy", "127.0.0.1:10249": "kube-proxy", "127.0.0.1:8181": "coredns",
	"127.0.0.9:6443": "kube-apiserver", "127.0.0.9:10250": "kubelet", "127.0.0.9:1053": "coredns",
}

func checkPorts(ctx context.Context) error {
	for address, name := range addresses {
		if err := checkAddress(ctx, address); err != nil {
			return fmt.Errorf("the port of %s is taken: %w", name, err)
		}
	}
	return nil
}

func checkAddress(ctx context.Context, address string) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return listener.Close()
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
