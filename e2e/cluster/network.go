package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	forwardingFile = "/proc/sys/net/ipv4/ip_forward"
	// ourChain collects our own rules, so that removing them needs no parsing.
	ourChain = "PLUMBLINE"
)

// makeNetwork makes the bridge that Pods hang on. The API server listens on the bridge's address.
func makeNetwork(ctx context.Context) error {
	previous, err := os.ReadFile(forwardingFile)
	if err != nil {
		return fmt.Errorf("reading the forwarding setting: %w", err)
	}
	if err := os.WriteFile(run("ip_forward"), previous, 0o600); err != nil {
		return fmt.Errorf("keeping the forwarding setting: %w", err)
	}
	if err := os.WriteFile(forwardingFile, []byte("1"), 0o600); err != nil {
		return fmt.Errorf("turning forwarding on: %w", err)
	}
	for _, line := range []string{
		"ip link add " + bridge + " type bridge",
		"ip addr add " + gatewayCIDR + " dev " + bridge,
		"ip link set " + bridge + " up",
	} {
		if _, err := command(ctx, nil, strings.Fields(line)...); err != nil {
			return fmt.Errorf("making the bridge: %w", err)
		}
	}
	// A Pod that reaches another through a Service must get the answer through the node as well; set for this bridge
	// alone, not for the whole machine.
	setting := filepath.Join("/sys/class/net", bridge, "bridge", "nf_call_iptables")
	if err := os.WriteFile(setting, []byte("1"), 0o600); err != nil {
		return fmt.Errorf("filtering the bridge: %w", err)
	}
	return addRules(ctx)
}

// addRules lets Pods out, and nothing out that is meant for a Service: what kube-proxy doesn't know yet would leave for
// whatever router answers there, and some answer for every address.
func addRules(ctx context.Context) error {
	rules := fmt.Sprintf(`*nat
:%[1]s - [0:0]
-A POSTROUTING -j %[1]s
-A %[1]s -s %[2]s ! -d %[2]s ! -o %[3]s -j MASQUERADE
COMMIT
*mangle
:%[1]s - [0:0]
-A PREROUTING -j %[1]s
COMMIT
*filter
:%[1]s - [0:0]
-I FORWARD -j %[1]s
-I OUTPUT -j %[1]s
-A %[1]s -d %[4]s -j REJECT
-A %[1]s -i %[3]s -j ACCEPT
-A %[1]s -o %[3]s -j ACCEPT
COMMIT
`, ourChain, podCIDR, bridge, serviceCIDR)
	_, err := command(ctx, strings.NewReader(rules), "iptables-restore", "--noflush", "--wait")
	if err != nil {
		return fmt.Errorf("adding packet rules: %w", err)
	}
	return nil
}

// Cut keeps what a Pod sends from an address, such as a Service's, until heal is called. It vanishes without a word, on
// connections that are there as well.
func (c *Cluster) Cut(ctx context.Context, pod, address string) (heal func(context.Context) error, err error) {
	change := func(ctx context.Context, verb string) error {
		_, err := command(ctx, nil, "iptables", "--wait", "-t", "mangle", verb, ourChain,
			"-s", pod, "-d", address, "-j", "DROP")
		return err
	}
	if err := change(ctx, "-A"); err != nil {
		return nil, fmt.Errorf("cutting %s off from %s: %w", pod, address, err)
	}
	return func(ctx context.Context) error { return change(ctx, "-D") }, nil
}

// removeNetwork undoes makeNetwork and what kube-proxy, the kubelet and the CNI plugins added.
func removeNetwork(ctx context.Context) error {
	errs := []error{
		removeLinks(ctx),
		removeRules(ctx, "iptables"),
		removeRules(ctx, "ip6tables"),
	}
	if previous, err := os.ReadFile(run("ip_forward")); err == nil {
		errs = append(errs, os.WriteFile(forwardingFile, previous, 0o600))
	}
	return errors.Join(errs...)
}

// removeLinks also removes the Pods' ends: the kernel frees a network namespace some time after its last process.
func removeLinks(ctx context.Context) error {
	var errs []error
	ports, _ := filepath.Glob(filepath.Join("/sys/class/net", bridge, "brif", "*"))
	for _, port := range ports {
		_, err := command(ctx, nil, "ip", "link", "delete", filepath.Base(port))
		if err != nil && exists(port) {
			errs = append(errs, err)
		}
	}
	if exists(filepath.Join("/sys/class/net", bridge)) {
		_, err := command(ctx, nil, "ip", "link", "delete", bridge)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func removeRules(ctx context.Context, family string) error {
	saved, err := command(ctx, nil, family+"-save")
	if err != nil {
		return nil // a machine without this family has no rules of it
	}
	undo := undoRules(saved)
	if undo == "" {
		return nil
	}
	if _, err := command(ctx, strings.NewReader(undo), family+"-restore", "--noflush", "--wait"); err != nil {
		return fmt.Errorf("removing packet rules: %w", err)
	}
	return nil
}
