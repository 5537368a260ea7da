package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
)

// object is a configuration file as nested maps: the components' own Go types would bring their modules along.
type object map[string]any

// writeConfig writes what the components read when they start. bin has the binaries' folders by tool.
func writeConfig(l layout, bin map[string]string) error {
	files := map[string]string{
		l.config("containerd.toml"): containerdConfig(bin),
		l.config("Corefile"):        corefile(l),
	}
	objects := map[string]object{
		run("cni", "10-plumbline.conflist"): cniConfig(),
		l.config("kubelet.json"):            kubeletConfig(l),
		l.config("kube-proxy.json"):         proxyConfig(l),
	}
	access, err := kubeconfigs(l)
	if err != nil {
		return err
	}
	maps.Copy(objects, access)
	if err := errors.Join(writeAll(files), writeObjects(objects), writeAccess(l)); err != nil {
		return fmt.Errorf("writing configuration: %w", err)
	}
	return nil
}

func writeObjects(objects map[string]object) error {
	files := make(map[string]string, len(objects))
	for path, o := range objects {
		text, err := json.MarshalIndent(o, "", "  ")
		if err != nil {
			return fmt.Errorf("encoding %s: %w", filepath.Base(path), err)
		}
		files[path] = string(text)
	}
	return writeAll(files)
}

// containerdConfig: this machine may lack CAP_SYS_RESOURCE, without which a lower oom_score_adj can't be set; network
// namespaces live below our own folder, so that leftovers are recognised as ours.
func containerdConfig(bin map[string]string) string {
	return strings.NewReplacer(
		"ROOT", data("containerd"),
		"STATE", run("containerd"),
		"SOCKET", containerdSocket(),
		"PAUSE", pauseImage,
		"RUNC_ROOT", run("runc"),
		"RUNC", filepath.Join(bin["runc"], "runc"),
		"CNI_BIN", bin["cni"],
		"CNI_CONF", run("cni"),
	).Replace(`version = 3
root = 'ROOT'
state = 'STATE'
disabled_plugins = [
  'io.containerd.nri.v1.nri', 'io.containerd.tracing.processor.v1.otlp', 'io.containerd.internal.v1.tracing',
  'io.containerd.snapshotter.v1.blockfile', 'io.containerd.snapshotter.v1.btrfs',
  'io.containerd.snapshotter.v1.devmapper', 'io.containerd.snapshotter.v1.erofs', 'io.containerd.snapshotter.v1.zfs',
]
[grpc]
address = 'SOCKET'
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = 'PAUSE'
[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true
disable_apparmor = true
netns_mounts_under_state_dir = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ['CNI_BIN']
conf_dir = 'CNI_CONF'
use_internal_loopback = true
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = 'RUNC'
Root = 'RUNC_ROOT'
SystemdCgroup = false
`)
}

func cniConfig() object {
	return object{
		"cniVersion": "1.0.0", "name": nodeName,
		"plugins": []object{{
			"type": "bridge", "bridge": bridge, "isGateway": true, "hairpinMode": true,
			"ipam": object{
				"type": "host-local", "dataDir": run("ipam"),
				"ranges": [][]object{{{"subnet": podCIDR, "gateway": gateway}}},
				"routes": []object{{"dst": "0.0.0.0/0"}},
			},
		}},
	}
}

// kubeletConfig evicts only when the machine is really at its end: tests share it with compilers.
func kubeletConfig(l layout) object {
	return object{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
		"address": gateway, "healthzBindAddress": "127.0.0.1",
		"authentication": object{
			"anonymous": object{"enabled": false},
			"webhook":   object{"enabled": true},
			"x509":      object{"clientCAFile": l.pki("ca.crt")},
		},
		"authorization":            object{"mode": "Webhook"},
		"tlsCertFile":              l.pki("kubelet-serving.crt"),
		"tlsPrivateKeyFile":        l.pki("kubelet-serving.key"),
		"containerRuntimeEndpoint": "unix://" + containerdSocket(),
		"cgroupDriver":             "cgroupfs", "cgroupRoot": "/" + cgroup, "failCgroupV1": false,
		"failSwapOn": false, "oomScoreAdj": 0,
		"clusterDNS": []string{dnsServiceIP}, "clusterDomain": clusterZone,
		"resolvConf": "/etc/resolv.conf",
		"podLogsDir": data("pods"), "maxPods": 250, "serializeImagePulls": false,
		"evictionHard": object{
			"memory.available": "100Mi", "nodefs.available": "500Mi", "imagefs.available": "500Mi",
			"nodefs.inodesFree": "1%", "imagefs.inodesFree": "1%",
		},
		"imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99,
		"shutdownGracePeriod":       "0s",
		"nodeStatusUpdateFrequency": "5s",
	}
}

// proxyConfig leaves the machine's connection tracking limits alone: they belong to the machine.
func proxyConfig(l layout) object {
	return object{
		"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
		"clientConnection": object{"kubeconfig": l.kubeconfigOf("kube-proxy")},
		"mode":             "iptables", "clusterCIDR": podCIDR, "hostnameOverride": nodeName,
		"bindAddress": gateway, "healthzBindAddress": "127.0.0.1:10256", "metricsBindAddress": "127.0.0.1:10249",
		"conntrack":   object{"maxPerCore": 0, "min": 0},
		"iptables":    object{"minSyncPeriod": "100ms", "localhostNodePorts": false},
		"oomScoreAdj": 0,
	}
}

// corefile has no cache: a name that a test asked for too early must not stay unknown.
func corefile(l layout) string {
	forward := ""
	if resolv, err := os.ReadFile("/etc/resolv.conf"); err == nil && strings.Contains(string(resolv), "nameserver ") {
		forward = "    forward . /etc/resolv.conf\n"
	}
	return fmt.Sprintf(`.:1053 {
    bind %s
    errors
    ready 127.0.0.1:8181
    kubernetes %s in-addr.arpa {
        kubeconfig %s
        pods insecure
    }
%s}
`, gateway, clusterZone, l.kubeconfigOf("coredns"), forward)
}
