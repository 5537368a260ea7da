package cluster

import (
	"os"
	"path/filepath"

	"github.com/plumbline-dev/plumbline/e2e/cluster/supervise"
)

// toolNames lists what the cluster is made of.
var toolNames = []string{"etcd", "containerd", "runc", "cni", "coredns", "kubernetes"}

// components lists the cluster's processes in the order of their start.
func components(l layout, bin map[string]string) ([]supervise.Process, error) {
	probe, err := newProber(l)
	if err != nil {
		return nil, err
	}
	kube := func(name string, args ...string) []string {
		return append([]string{filepath.Join(bin["kubernetes"], name)}, args...)
	}
	processes := []supervise.Process{
		{Name: "etcd", Argv: etcdArgv(bin), Ready: probe.get(etcdURL + "/health")},
		{
			Name: "containerd", Ready: dials(containerdSocket()),
			Argv: []string{filepath.Join(bin["containerd"], "containerd"), "--config", l.config("containerd.toml")},
		},
		{Name: "kube-apiserver", Argv: kube("kube-apiserver", apiServerArgs(l)...), Ready: probe.get(apiServer + "/readyz")},
		{
			Name: "kubelet", After: []string{"containerd", "kube-apiserver"},
			Argv: kube("kubelet", kubeletArgs(l)...), Ready: probe.get("http://127.0.0.1:10248/healthz"),
		},
		{
			Name: "kube-controller-manager", After: []string{"kube-apiserver"},
			Argv:  kube("kube-controller-manager", controllerManagerArgs(l)...),
			Ready: probe.get("https://127.0.0.1:10257/healthz"),
		},
		{
			Name: "kube-scheduler", After: []string{"kube-apiserver"},
			Argv: kube("kube-scheduler", schedulerArgs(l)...), Ready: probe.get("https://127.0.0.1:10259/healthz"),
		},
		{
			Name: "kube-proxy", After: []string{"kube-apiserver"},
			Argv:  kube("kube-proxy", "--config="+l.config("kube-proxy.json")),
			Ready: probe.get("http://127.0.0.1:10256/healthz"),
		},
		{
			Name: "coredns", After: []string{"kube-apiserver"}, Ready: probe.get("http://127.0.0.1:8181/ready"),
			Argv: []string{filepath.Join(bin["coredns"], "coredns"), "-conf", l.config("Corefile")},
		},
	}
	for i := range processes {
		processes[i].Log = l.log(processes[i].Name)
		processes[i].Env = environment(bin)
	}
	return processes, nil
}

// environment lets containerd find its shim, and drops what would change a component's behaviour.
func environment(bin map[string]string) []string {
	path := bin["containerd"] + ":" + bin["runc"] + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	return []string{"PATH=" + path, "HOME=" + os.Getenv("HOME"), "LANG=C.UTF-8"}
}

// etcdArgv leaves out the flush to disk: the data ends with the cluster, and the disk is slow on shared machines.
func etcdArgv(bin map[string]string) []string {
	return []string{
		filepath.Join(bin["etcd"], "etcd"), "--name=" + nodeName, "--data-dir=" + data("etcd"),
		"--listen-client-urls=" + etcdURL, "--advertise-client-urls=" + etcdURL,
		"--listen-peer-urls=" + etcdPeerURL, "--initial-advertise-peer-urls=" + etcdPeerURL,
		"--initial-cluster=" + nodeName + "=" + etcdPeerURL, "--unsafe-no-fsync", "--log-level=warn",
	}
}

func apiServerArgs(l layout) []string {
	return []string{
		"--bind-address=" + gateway, "--advertise-address=" + gateway, "--secure-port=6443",
		"--etcd-servers=" + etcdURL, "--service-cluster-ip-range=" + serviceCIDR,
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged",
		"--client-ca-file=" + l.pki("ca.crt"),
		"--tls-cert-file=" + l.pki("apiserver.crt"), "--tls-private-key-file=" + l.pki("apiserver.key"),
		"--requestheader-client-ca-file=" + l.pki("front-proxy-ca.crt"),
		"--requestheader-allowed-names=" + frontProxy.user,
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + l.pki(frontProxy.file+".crt"),
		"--proxy-client-key-file=" + l.pki(frontProxy.file+".key"),
		// It runs beside the node, where the addresses of Pods can be reached whatever kube-proxy does.
		"--enable-aggregator-routing=true",
		"--kubelet-certificate-authority=" + l.pki("ca.crt"),
		"--kubelet-client-certificate=" + l.pki("apiserver-kubelet.crt"),
		"--kubelet-client-key=" + l.pki("apiserver-kubelet.key"),
		"--kubelet-preferred-address-types=InternalIP",
		// An address, not a name in the cluster's zone: what verifies tokens on the machine must find it too.
		"--service-account-issuer=" + apiServer,
		"--service-account-key-file=" + l.pki("serviceaccount.pub"),
		"--service-account-signing-key-file=" + l.pki("serviceaccount.key"),
		"--api-audiences=" + apiServer + ",https://kubernetes.default.svc",
	}
}

func controllerManagerArgs(l layout) []string {
	config := l.kubeconfigOf("kube-controller-manager")
	return []string{
		"--kubeconfig=" + config, "--authentication-kubeconfig=" + config, "--authorization-kubeconfig=" + config,
		"--bind-address=127.0.0.1", "--leader-elect=false", "--use-service-account-credentials",
		"--root-ca-file=" + l.pki("ca.crt"), "--service-account-private-key-file=" + l.pki("serviceaccount.key"),
		"--cluster-signing-cert-file=" + l.pki("ca.crt"), "--cluster-signing-key-file=" + l.pki("ca.key"),
		"--kube-api-qps=100", "--kube-api-burst=200",
	}
}

func schedulerArgs(l layout) []string {
	config := l.kubeconfigOf("kube-scheduler")
	return []string{
		"--kubeconfig=" + config, "--authentication-kubeconfig=" + config, "--authorization-kubeconfig=" + config,
		"--bind-address=127.0.0.1", "--leader-elect=false",
	}
}

func kubeletArgs(l layout) []string {
	return []string{
		"--config=" + l.config("kubelet.json"), "--kubeconfig=" + l.kubeconfigOf("kubelet"),
		"--root-dir=" + data("kubelet"), "--cert-dir=" + data("kubelet", "pki"),
		"--node-ip=" + gateway, "--hostname-override=" + nodeName,
	}
}
