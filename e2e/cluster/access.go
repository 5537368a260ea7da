package cluster

import (
	"encoding/base64"
	"fmt"
	"os"
)

// kubeconfigs holds, by path, how each component reaches the API server.
func kubeconfigs(l layout) (map[string]object, error) {
	paths := map[string]string{}
	for _, name := range []string{"kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "coredns"} {
		paths[name] = l.kubeconfigOf(name)
	}
	all := make(map[string]object, len(paths))
	for name, path := range paths {
		config, err := kubeconfig(l, name)
		if err != nil {
			return nil, fmt.Errorf("writing the kubeconfig of %s: %w", name, err)
		}
		all[path] = config
	}
	return all, nil
}

// kubeconfig holds its certificates inside, so that a copy works anywhere on the machine.
func kubeconfig(l layout, user string) (object, error) {
	var encoded [3]string
	for i, file := range []string{"ca.crt", user + ".crt", user + ".key"} {
		text, err := os.ReadFile(l.pki(file))
		if err != nil {
			return nil, err
		}
		encoded[i] = base64.StdEncoding.EncodeToString(text)
	}
	return object{
		"apiVersion": "v1", "kind": "Config", "current-context": nodeName,
		"clusters": []object{{"name": nodeName, "cluster": object{
			"server": apiServer, "certificate-authority-data": encoded[0],
		}}},
		"users": []object{{"name": user, "user": object{
			"client-certificate-data": encoded[1], "client-key-data": encoded[2],
		}}},
		"contexts": []object{{"name": nodeName, "context": object{"cluster": nodeName, "user": user}}},
	}, nil
}

// writeAccess writes the admin's kubeconfig.
func writeAccess(l layout) error {
	config, err := kubeconfig(l, "admin")
	if err != nil {
		return fmt.Errorf("writing the kubeconfig: %w", err)
	}
	return writeObjects(map[string]object{l.kubeconfig(): config})
}
