package tools

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// tool is how one pinned program is built. Its name is also its module's folder.
type tool struct {
	packages []string
	tags     string
	ldflags  string
	// cgo is off but for what can't do without: static binaries run in any image and on any libc.
	cgo bool
	// rename gives a binary another name than its package's.
	rename map[string]string
	// patch puts a file of the tool's folder in the place of one of a module's.
	patch patch
	// debian lists the packages that the build needs from the machine.
	debian []string
	// takes is how long the first build takes, roughly, on two cores.
	takes string
}

// patch is a module, a path in it, and the file that stands in for that one.
type patch struct{ module, path, by string }

const kubernetesVersion = "v1.36.3"

// catalog lists every pinned program. Versions are in the modules' go.mod files alone; only where a program must be
// told its own version is it repeated here (a test compares them).
var catalog = map[string]tool{
	"kubernetes": {
		packages: under("k8s.io/kubernetes/cmd/",
			"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"),
		// Clients refuse a server whose version they can't parse.
		ldflags: "-X k8s.io/component-base/version.gitVersion=" + kubernetesVersion +
			" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36",
		takes: "4 to 8 minutes",
	},
	"containerd": {
		packages: under("github.com/containerd/containerd/v2/cmd/", "containerd", "containerd-shim-runc-v2", "ctr"),
		takes:    "a minute or two",
	},
	"etcd": {
		packages: []string{"go.etcd.io/etcd/server/v3"},
		rename:   map[string]string{"server": "etcd"},
		takes:    "half a minute",
	},
	"runc": {
		packages: []string{"github.com/opencontainers/runc"},
		tags:     "seccomp",
		cgo:      true,
		debian:   []string{"gcc", "libc6-dev", "libseccomp-dev", "pkg-config"},
		takes:    "a quarter of a minute",
	},
	"cni": {
		packages: under("github.com/containernetworking/plugins/plugins/",
			"main/bridge", "main/loopback", "ipam/host-local", "meta/portmap"),
		takes: "a quarter of a minute",
	},
	"coredns":        {packages: []string{"."}, takes: "a minute or two"},
	"controller-gen": {packages: []string{"sigs.k8s.io/controller-tools/cmd/controller-gen"}, takes: "half a minute"},
	"golangci-lint": {
		packages: []string{"github.com/golangci/golangci-lint/v2/cmd/golangci-lint"},
		takes:    "2 minutes",
	},
	"helm": {packages: []string{"helm.sh/helm/v3/cmd/helm"}, takes: "2 minutes"},
	"tofu": {
		packages: []string{"github.com/opentofu/opentofu/cmd/tofu"},
		// Otherwise it calls itself a prerelease, which version constraints refuse.
		ldflags: "-X github.com/opentofu/opentofu/version.dev=no",
		takes:   "3 minutes",
	},
	"provider-kubectl": {packages: []string{"github.com/gavinbunney/terraform-provider-kubectl"}, takes: "3 minutes"},
	"versitygw":        {packages: []string{"github.com/versity/versitygw/cmd/versitygw"}, takes: "a minute or two"},
	// For tests alone. Without the tag ui it has no web pages, which are not in its module either.
	"vault": {
		packages: []string{"github.com/hashicorp/vault"},
		tags:     "minimal",
		patch:    patch{"github.com/hashicorp/vault", "helper/builtinplugins/registry_min.go", "plugins.go"},
		takes:    "5 minutes",
	},
	"provider-time": {packages: []string{"github.com/hashicorp/terraform-provider-time"}, takes: "half a minute"},
}

// Names lists the pinned tools.
func Names() []string { return slices.Sorted(maps.Keys(catalog)) }

func lookup(name string) (tool, error) {
	t, ok := catalog[name]
	if !ok {
		return tool{}, fmt.Errorf("%w %q: there are %s", ErrUnknown, name, strings.Join(Names(), ", "))
	}
	return t, nil
}

func under(prefix string, names ...string) []string {
	paths := make([]string, len(names))
	for i, name := range names {
		paths[i] = prefix + name
	}
	return paths
}
