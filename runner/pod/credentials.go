package pod

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/runner/names"
)

const (
	// revokingTime is what the driver needs to revoke what it got from Vault, when it was asked to stop.
	revokingTime = 15 * time.Second
	// marginAfterGrace lies between the end of an interrupted Terraform's grace and the end of its credentials.
	marginAfterGrace = 30 * time.Second

	vaultTokenVolume = "vault-token"
	grantsVolume     = "vault-grants"
)

// revoking is the time that revocation adds to the Pod's last moments.
func revoking(in Input) time.Duration {
	if !in.Workspace.UsesVault() {
		return 0
	}
	return revokingTime
}

// fetching is the time that is spent on Vault before Terraform starts.
func fetching(in Input) time.Duration {
	if !in.Workspace.UsesVault() {
		return 0
	}
	return timeouts(in).Credentials
}

// vault is how the driver reaches Vault; nil when it has nothing to ask for there.
func vault(in Input) *job.Vault {
	v := in.Class.Spec.Vault
	if v == nil || !in.Workspace.UsesVault() {
		return nil
	}
	margin := timeouts(in).Grace + marginAfterGrace
	if v.Margin != nil {
		margin = v.Margin.Duration
	}
	return &job.Vault{
		Address:   v.Address,
		AuthPath:  cmp.Or(v.AuthPath, "auth/kubernetes"),
		Namespace: v.Namespace,
		Role:      v.Role,
		CA:        v.CABundle,
		Margin:    margin,
		MaxTTL:    Deadline(in.Workspace, in.Class),
	}
}

// grants tells whether anything of Vault's goes into files: they live in memory, so that no secret touches a disk.
func grants(in Input) bool {
	return slices.ContainsFunc(in.Workspace.Spec.Credentials, func(c v1alpha1.Credential) bool {
		return c.Vault != nil && len(c.Vault.Files)+len(c.Vault.Variables) > 0
	})
}

func credentialVolumes(in Input) []corev1.Volume {
	var all []corev1.Volume
	for _, c := range in.Workspace.Spec.Credentials {
		switch {
		case c.SecretRef != nil:
			all = append(all, corev1.Volume{Name: credentialVolume(c.Name), VolumeSource: corev1.VolumeSource{
				Secret: &corev1.SecretVolumeSource{SecretName: c.SecretRef.Name, Items: chosen(c.SecretRef.Keys)},
			}})
		case c.ServiceAccountToken != nil:
			t := c.ServiceAccountToken
			all = append(all, tokenVolume(credentialVolume(c.Name), t.Audience, cmp.Or(t.ExpirationSeconds, tokenSeconds)))
		}
	}
	if v := in.Class.Spec.Vault; v != nil && in.Workspace.UsesVault() {
		all = append(all, tokenVolume(vaultTokenVolume, cmp.Or(v.Audience, "vault"), tokenSeconds))
	}
	if grants(in) {
		all = append(all, corev1.Volume{Name: grantsVolume, VolumeSource: corev1.VolumeSource{
			EmptyDir: &corev1.EmptyDirVolumeSource{
				Medium: corev1.StorageMediumMemory, SizeLimit: new(resource.MustParse("16Mi")),
			},
		}})
	}
	return all
}

// chosen are the keys of a Secret that are mounted, each under the name of its environment variable; nil for all of
// them.
func chosen(keys map[string]string) []corev1.KeyToPath {
	var items []corev1.KeyToPath
	for _, variable := range slices.Sorted(maps.Keys(keys)) {
		items = append(items, corev1.KeyToPath{Key: keys[variable], Path: variable})
	}
	return items
}

func credentialMounts(in Input) []corev1.VolumeMount {
	var all []corev1.VolumeMount
	for _, c := range in.Workspace.Spec.Credentials {
		switch {
		case c.SecretRef != nil:
			all = append(all, readOnly(credentialVolume(c.Name), job.CredentialsDir+"/"+c.Name))
		case c.ServiceAccountToken != nil:
			all = append(all, readOnly(credentialVolume(c.Name), path.Dir(job.Token{Name: c.Name}.Path())))
		}
	}
	if in.Class.Spec.Vault != nil && in.Workspace.UsesVault() {
		all = append(all, readOnly(vaultTokenVolume, path.Dir(job.VaultTokenFile)))
	}
	if grants(in) {
		all = append(all, corev1.VolumeMount{Name: grantsVolume, MountPath: job.GrantsDir})
	}
	return all
}

func readOnly(volume, path string) corev1.VolumeMount {
	return corev1.VolumeMount{Name: volume, MountPath: path, ReadOnly: true}
}

func credentialVolume(name string) string { return names.Label("credential-" + name) }

// tokenVolume holds a token of the Pod's ServiceAccount for one audience, which the kubelet keeps fresh.
func tokenVolume(name, audience string, seconds int64) corev1.Volume {
	token := &corev1.ServiceAccountTokenProjection{Audience: audience, ExpirationSeconds: &seconds, Path: job.TokenFile}
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		Sources: []corev1.VolumeProjection{{ServiceAccountToken: token}},
	}}}
}
