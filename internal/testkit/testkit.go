// Package testkit builds the objects that tests speak of, so that a test names only what it is about:
//
//	testkit.Workspace("a").Schedule("@daily").Obj()
//	testkit.Run("a", "a-1").Launched(testkit.Epoch).Ended(job.Applied, testkit.Epoch.Add(time.Minute)).Obj()
//
// It imports nothing of the product but the API and the words of driver/job: every package's tests may use it.
package testkit

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
)

// Namespace is where every namespaced object of this package lives.
const Namespace = "team"

// Epoch is the moment that every object of this package was created at: a Sunday, at noon.
var Epoch = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// Clock stands at Epoch until a test steps it.
func Clock() *clocktesting.FakeClock { return clocktesting.NewFakeClock(Epoch) }

// At is the moment d after Epoch.
func At(d time.Duration) time.Time { return Epoch.Add(d) }

func meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: Namespace, Name: name, UID: UID(name), Generation: 1, CreationTimestamp: metav1.NewTime(Epoch),
	}
}

// UID is that of the object of this name.
func UID(name string) types.UID { return types.UID("uid-of-" + name) }

// WorkspaceBuilder builds a Workspace.
type WorkspaceBuilder struct{ w v1alpha1.Workspace }

// Workspace has one inline file and nothing else.
func Workspace(name string) *WorkspaceBuilder {
	b := &WorkspaceBuilder{v1alpha1.Workspace{ObjectMeta: meta(name)}}
	return b.File("main.tf", "# nothing")
}

// Obj returns what was built.
func (b *WorkspaceBuilder) Obj() *v1alpha1.Workspace { return b.w.DeepCopy() }

// File adds an inline file.
func (b *WorkspaceBuilder) File(path, text string) *WorkspaceBuilder {
	if b.w.Spec.Source.Inline == nil {
		b.w.Spec.Source = v1alpha1.Source{Inline: &v1alpha1.InlineSource{Files: map[string]string{}}}
	}
	b.w.Spec.Source.Inline.Files[path] = text
	return b
}

// Image makes the source a module of the runner image.
func (b *WorkspaceBuilder) Image(path string) *WorkspaceBuilder {
	b.w.Spec.Source = v1alpha1.Source{Image: &v1alpha1.ImageSource{Path: path}}
	return b
}

// Class names the RunnerClass.
func (b *WorkspaceBuilder) Class(name string) *WorkspaceBuilder {
	b.w.Spec.RunnerClassName = name
	return b
}

// Value adds a variable with a JSON value.
func (b *WorkspaceBuilder) Value(name, raw string) *WorkspaceBuilder {
	b.w.Spec.Variables = append(b.w.Spec.Variables,
		v1alpha1.Variable{Name: name, Value: &apiextensionsv1.JSON{Raw: []byte(raw)}})
	return b
}

// Null adds a variable whose value is null, as it comes from the API server.
func (b *WorkspaceBuilder) Null(name string) *WorkspaceBuilder {
	b.w.Spec.Variables = append(b.w.Spec.Variables, v1alpha1.Variable{Name: name})
	return b
}

// FromSecret adds a variable that is read from a Secret.
func (b *WorkspaceBuilder) FromSecret(name, secret, key string) *WorkspaceBuilder {
	from := &v1alpha1.ValueFrom{SecretKeyRef: &v1alpha1.KeyRef{Name: secret, Key: key}}
	b.w.Spec.Variables = append(b.w.Spec.Variables, v1alpha1.Variable{Name: name, ValueFrom: from})
	return b
}

// FromConfigMap adds a variable that is read from a ConfigMap.
func (b *WorkspaceBuilder) FromConfigMap(name, configMap, key string) *WorkspaceBuilder {
	from := &v1alpha1.ValueFrom{ConfigMapKeyRef: &v1alpha1.KeyRef{Name: configMap, Key: key}}
	b.w.Spec.Variables = append(b.w.Spec.Variables, v1alpha1.Variable{Name: name, ValueFrom: from})
	return b
}

// Credential adds a Secret whose keys become environment variables.
func (b *WorkspaceBuilder) Credential(name, secret string) *WorkspaceBuilder {
	c := v1alpha1.Credential{Name: name, SecretRef: &v1alpha1.SecretRef{Name: secret}}
	b.w.Spec.Credentials = append(b.w.Spec.Credentials, c)
	return b
}

// Vault adds a credential from Vault, with its field "key" in the environment variable KEY.
func (b *WorkspaceBuilder) Vault(name, path string) *WorkspaceBuilder {
	v := &v1alpha1.VaultCredential{Path: path, Env: map[string]string{"KEY": "key"}}
	b.w.Spec.Credentials = append(b.w.Spec.Credentials, v1alpha1.Credential{Name: name, Vault: v})
	return b
}

// Schedule sets the drift schedule, whose ticks are on the dot.
func (b *WorkspaceBuilder) Schedule(schedule string) *WorkspaceBuilder {
	b.w.Spec.Drift = &v1alpha1.Drift{
		Schedule: schedule, Action: v1alpha1.DriftCorrect, Jitter: &metav1.Duration{},
	}
	return b
}

// Report makes scheduled Runs plan only; it follows Schedule.
func (b *WorkspaceBuilder) Report() *WorkspaceBuilder {
	b.w.Spec.Drift.Action = v1alpha1.DriftReport
	return b
}

// Rerun sets the annotation that asks for a Run.
func (b *WorkspaceBuilder) Rerun(value string) *WorkspaceBuilder {
	b.w.Annotations = map[string]string{v1alpha1.AnnotationRerun: value}
	return b
}

// Suspend holds new Runs back.
func (b *WorkspaceBuilder) Suspend() *WorkspaceBuilder {
	b.w.Spec.Suspend = true
	return b
}

// Orphan leaves the infrastructure when the Workspace is deleted.
func (b *WorkspaceBuilder) Orphan() *WorkspaceBuilder {
	b.w.Spec.DeletionPolicy = v1alpha1.DeletionOrphan
	return b
}

// Deleting marks the Workspace as deleted an hour after Epoch, and held by its finalizer.
func (b *WorkspaceBuilder) Deleting() *WorkspaceBuilder {
	b.w.Finalizers = []string{v1alpha1.Finalizer}
	b.w.DeletionTimestamp = new(metav1.NewTime(At(time.Hour)))
	return b.Generation(b.w.Generation + 1)
}

// Held adds the finalizer.
func (b *WorkspaceBuilder) Held() *WorkspaceBuilder {
	b.w.Finalizers = []string{v1alpha1.Finalizer}
	return b
}

// Generation sets metadata.generation: what an edit of the spec raises.
func (b *WorkspaceBuilder) Generation(n int64) *WorkspaceBuilder {
	b.w.Generation = n
	return b
}

// History sets how many finished Runs are kept.
func (b *WorkspaceBuilder) History(succeeded, failed int32) *WorkspaceBuilder {
	b.w.Spec.History = &v1alpha1.History{Succeeded: &succeeded, Failed: &failed}
	return b
}

// With changes what no other method does.
func (b *WorkspaceBuilder) With(change func(*v1alpha1.Workspace)) *WorkspaceBuilder {
	change(&b.w)
	return b
}

// Class is a RunnerClass marked as the default.
func Class(name string) *v1alpha1.RunnerClass {
	m := meta(name)
	m.Namespace = ""
	m.Annotations = map[string]string{v1alpha1.AnnotationDefaultClass: "true"}
	return &v1alpha1.RunnerClass{ObjectMeta: m, Spec: v1alpha1.RunnerClassSpec{
		Image: "registry.example/runner:1", ImagePullPolicy: corev1.PullIfNotPresent,
	}}
}

// VaultClass is a Class that knows a Vault, and may revoke there.
func VaultClass(name string) *v1alpha1.RunnerClass {
	c := Class(name)
	c.Spec.Vault = &v1alpha1.VaultServer{
		Address: "https://vault:8200", AuthPath: "auth/jwt", Audience: "vault", Role: "runner", RevokerRole: "revoker",
	}
	return c
}

// Secret holds text.
func Secret(name string, data map[string]string) *corev1.Secret {
	s := &corev1.Secret{ObjectMeta: meta(name), Data: map[string][]byte{}}
	for key, value := range data {
		s.Data[key] = []byte(value)
	}
	return s
}

// ConfigMap holds text.
func ConfigMap(name string, data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: meta(name), Data: data}
}
