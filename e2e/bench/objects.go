package main

import (
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/e2e/stage"
)

// configuration is the same for both: one real object through the kubectl provider, one output.
const configuration = `
terraform {
  required_providers {
    kubectl = { source = "gavinbunney/kubectl" }
  }
}

variable "name" { type = string }

resource "kubectl_manifest" "thing" {
  yaml_body = yamlencode({
    apiVersion = "v1"
    kind       = "ConfigMap"
    metadata   = { name = var.name, namespace = "` + namespace + `", labels = { "bench" = "thing" } }
    data       = { greeting = "hello" }
  })
}

output "uid" { value = kubectl_manifest.thing.uid }
`

// cliConfiguration is what a person writes for a mirror folder.
const cliConfiguration = `provider_installation {
  filesystem_mirror { path = "/plugins" }
}
disable_checkpoint = true
`

const configName = "bench-configuration"

func config() *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: configName},
		Data:       map[string]string{"main.tf": configuration, "cli.tfrc": cliConfiguration},
	}
}

// barePod has what a runner Pod has, as far as it matters for the time: the same image below, the same requests, the
// same security settings, the same kinds of volumes.
func barePod(name, image string, resources corev1.ResourceRequirements) *corev1.Pod {
	env := func(name, value string) corev1.EnvVar { return corev1.EnvVar{Name: name, Value: value} }
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.PodSpec{
			RestartPolicy:                corev1.RestartPolicyNever,
			AutomountServiceAccountToken: new(false),
			EnableServiceLinks:           new(false),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot:   new(true),
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				Name:            "terraform",
				Image:           image,
				ImagePullPolicy: corev1.PullIfNotPresent,
				Env: []corev1.EnvVar{
					env("HOME", "/tmp"), env("TMPDIR", "/tmp"),
					env("TF_VAR_name", name), env("TF_CLI_CONFIG_FILE", "/config/cli.tfrc"),
				},
				EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{
					LocalObjectReference: corev1.LocalObjectReference{Name: stage.Credentials},
				}}},
				Resources: resources,
				VolumeMounts: []corev1.VolumeMount{
					{Name: "config", MountPath: "/config", ReadOnly: true},
					{Name: "workspace", MountPath: "/workspace"},
					{Name: "tmp", MountPath: "/tmp"},
				},
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: new(false),
					ReadOnlyRootFilesystem:   new(true),
					Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
			}},
			Volumes: []corev1.Volume{
				{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
					LocalObjectReference: corev1.LocalObjectReference{Name: configName},
				}}},
				{Name: "workspace", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
				{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			},
		},
	}
}

func newWorkspace(name string) (*v1alpha1.Workspace, error) {
	value, err := json.Marshal(name)
	if err != nil {
		return nil, err
	}
	return &v1alpha1.Workspace{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.WorkspaceSpec{
			Source:    v1alpha1.Source{Inline: &v1alpha1.InlineSource{Files: map[string]string{"main.tf": configuration}}},
			Variables: []v1alpha1.Variable{{Name: "name", Value: &apiextensionsv1.JSON{Raw: value}}},
			Credentials: []v1alpha1.Credential{
				{Name: "cluster", SecretRef: &v1alpha1.SecretRef{Name: stage.Credentials}},
			},
		},
	}, nil
}
