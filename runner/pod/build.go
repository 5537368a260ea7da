// Package pod builds the Pod of a Run and reads it back. Both directions are here and pure: what build.go writes,
// observe.go understands.
//
//	Run, Workspace, RunnerClass, Secret's name --Build--> Pod
//	Pod, now --Observe--> Outcome{still going on | ended, with class and message}
package pod

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/runner/names"
)

// Labels of every runner Pod.
const (
	LabelName      = "app.kubernetes.io/name"
	LabelComponent = "app.kubernetes.io/component"
	Name           = "plumbline"
	Component      = "runner"

	container = "runner"

	// finishing is what the driver needs after Terraform's end: outputs, the rescue of a state, the report.
	finishing = 30 * time.Second
	// tokenSeconds is the lifetime of the Pod's token for the state service; the kubelet renews it in time.
	tokenSeconds = 3600
)

// Input is everything a Pod is made from.
type Input struct {
	Run       *v1alpha1.Run
	Workspace *v1alpha1.Workspace
	Class     *v1alpha1.RunnerClass
	// SecretName is the Secret with the rendered files.
	SecretName string
	// FilesDigest is what it has to hold; empty for not known.
	FilesDigest string
	// State is how the state service is reached.
	State job.State
	// Place is where the state is found or put; Former, unless nil, the place that it is moved away from.
	Place  v1alpha1.StatePlace
	Former *v1alpha1.StatePlace
}

// Build makes the Pod: PodSecurity restricted, no fixed UID (OpenShift gives its own), a read-only root, no API token.
func Build(in Input) *corev1.Pod {
	t := templates(in)
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:   in.Run.Namespace,
			Name:        names.Label(in.Run.Name),
			Labels:      t.labels(),
			Annotations: t.annotations(),
			OwnerReferences: []metav1.OwnerReference{
				*metav1.NewControllerRef(in.Run, v1alpha1.GroupVersion.WithKind("Run")),
			},
		},
		Spec: corev1.PodSpec{
			RestartPolicy:                 corev1.RestartPolicyNever,
			ServiceAccountName:            cmp.Or(in.Workspace.Spec.ServiceAccountName, "default"),
			AutomountServiceAccountToken:  new(false),
			EnableServiceLinks:            new(false),
			SecurityContext:               podSecurity(),
			Containers:                    []corev1.Container{runner(in, t)},
			Volumes:                       append(volumes(in), t.volumes()...),
			TerminationGracePeriodSeconds: seconds(timeouts(in).Grace + finishing + revoking(in)),
			ActiveDeadlineSeconds:         seconds(Deadline(in.Workspace, in.Class)),
			NodeSelector:                  t.nodeSelector(),
			Tolerations:                   t.tolerations(),
			Affinity:                      t.affinity(),
			ImagePullSecrets:              t.imagePullSecrets(),
			PriorityClassName:             t.priorityClassName(),
		},
	}
	// Last, so that no template can take them away.
	p.Labels[LabelName] = Name
	p.Labels[LabelComponent] = Component
	p.Labels[v1alpha1.LabelWorkspace] = names.Label(in.Workspace.Name)
	p.Labels[v1alpha1.LabelRun] = names.Label(in.Run.Name)
	p.Annotations[v1alpha1.LabelWorkspace] = in.Workspace.Name
	return p
}

// Deadline is when the kubelet ends the Pod whatever it does: the sum of what its steps may take.
func Deadline(w *v1alpha1.Workspace, c *v1alpha1.RunnerClass) time.Duration {
	in := Input{Workspace: w, Class: c}
	t := timeouts(in)
	return fetching(in) + t.Init + t.Plan + t.Apply + t.Grace + 2*finishing + revoking(in)
}

func podSecurity() *corev1.PodSecurityContext {
	return &corev1.PodSecurityContext{
		RunAsNonRoot:   new(true),
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

func runner(in Input, t merged) corev1.Container {
	return corev1.Container{
		Name:            container,
		Image:           in.Class.Spec.Image,
		ImagePullPolicy: in.Class.Spec.ImagePullPolicy,
		Args:            []string{"run", params(in, t).String()},
		Env: append(t.env(), corev1.EnvVar{Name: "HOME", Value: "/tmp"},
			corev1.EnvVar{Name: "TMPDIR", Value: "/tmp"}),
		Resources:    t.resources(),
		VolumeMounts: append(mounts(in), t.volumeMounts()...),
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false),
			ReadOnlyRootFilesystem:   new(true),
			RunAsNonRoot:             new(true),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
		TerminationMessagePath:   job.TerminationMessageFile,
		TerminationMessagePolicy: corev1.TerminationMessageReadFile,
	}
}

func params(in Input, t merged) job.Params {
	p := job.Params{
		Version:   job.Version,
		Namespace: in.Run.Namespace,
		Workspace: in.Workspace.Name,
		Run:       in.Run.Name,
		Operation: job.Operation(in.Run.Spec.Operation),
		Targets:   in.Run.Spec.Targets,
		Replace:   in.Run.Spec.Replace,
		Check:     isCheck(in.Run),
		Timeouts:  timeouts(in),
		State:     in.State,
		Vault:     vault(in),
		Engine:    engine(in),

		FilesDigest: in.FilesDigest,
	}
	for _, e := range t.env() {
		p.PassEnv = append(p.PassEnv, e.Name)
		if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
			p.SecretEnv = append(p.SecretEnv, e.Name)
		}
	}
	p.Trust = trustNames(in)
	for _, v := range in.Workspace.Spec.Variables {
		if v.ValueFrom != nil && v.ValueFrom.SecretKeyRef != nil {
			p.SecretVariables = append(p.SecretVariables, v.Name)
		}
	}
	aboutState(in, &p)
	if m := in.Class.Spec.PluginMirror; m != nil {
		p.PluginMirror = job.PluginMirror{Path: m.Path, URL: m.URL, Include: m.Include, Direct: m.Direct}
	}
	return p
}

// engine is the class's, with what the Workspace says over it.
func engine(in Input) job.Engine {
	var e job.Engine
	for _, given := range []*v1alpha1.Engine{in.Class.Spec.Engine, in.Workspace.Spec.Engine} {
		if given != nil {
			e.LogLevel = cmp.Or(string(given.LogLevel), e.LogLevel)
			e.Parallelism = cmp.Or(int(given.Parallelism), e.Parallelism)
		}
	}
	return e
}

// isCheck tells whether a Run looks after what is there, and changes something only if somebody else did.
func isCheck(r *v1alpha1.Run) bool {
	kind := r.Spec.Trigger.Kind
	unasked := kind == v1alpha1.TriggerSchedule || kind == v1alpha1.TriggerRerun
	return unasked && r.Spec.Operation == v1alpha1.OperationApply && len(r.Spec.Replace) == 0
}

func volumes(in Input) []corev1.Volume {
	all := []corev1.Volume{
		{Name: "job", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: in.SecretName}}},
		emptyDir("workspace", "4Gi"),
		emptyDir("tmp", "1Gi"),
		tokenVolume("state-token", job.StateAudience, tokenSeconds),
	}
	return slices.Concat(all, backendVolumes(in), credentialVolumes(in), trustVolumes(in))
}

func mounts(in Input) []corev1.VolumeMount {
	all := []corev1.VolumeMount{
		{Name: "job", MountPath: job.SpecDir, ReadOnly: true},
		{Name: "workspace", MountPath: job.WorkDir},
		{Name: "tmp", MountPath: "/tmp"},
		{Name: "state-token", MountPath: "/var/run/secrets/plumbline/state", ReadOnly: true},
	}
	return slices.Concat(all, backendMounts(in), credentialMounts(in), trustMounts(in))
}

func emptyDir(name, limit string) corev1.Volume {
	size := resource.MustParse(limit)
	return corev1.Volume{Name: name,
		VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: &size}}}
}

// timeouts are the built-in defaults, replaced by the class's or the Workspace's; where both speak, the shorter counts.
func timeouts(in Input) job.Timeouts {
	c, w := in.Class.Spec.Timeouts, in.Workspace.Spec.Timeouts
	if c == nil {
		c = &v1alpha1.Timeouts{}
	}
	if w == nil {
		w = &v1alpha1.Timeouts{}
	}
	return job.Timeouts{
		Credentials: shorter(30*time.Second, c.Credentials, w.Credentials),
		Init:        shorter(10*time.Minute, c.Init, w.Init),
		Plan:        shorter(30*time.Minute, c.Plan, w.Plan),
		Apply:       shorter(60*time.Minute, c.Apply, w.Apply),
		Stall:       shorter(10*time.Minute, c.Stall, w.Stall),
		Grace:       shorter(60*time.Second, c.Grace, w.Grace),
	}
}

func shorter(otherwise time.Duration, class, workspace *metav1.Duration) time.Duration {
	switch {
	case class != nil && workspace != nil:
		return min(class.Duration, workspace.Duration)
	case class != nil:
		return class.Duration
	case workspace != nil:
		return workspace.Duration
	}
	return otherwise
}

func seconds(d time.Duration) *int64 {
	return new(int64(math.Ceil(min(d, math.MaxInt32*time.Second).Seconds())))
}

// union is a, with b's entries over it; never nil.
func union(a, b map[string]string) map[string]string {
	all := map[string]string{}
	maps.Copy(all, a)
	maps.Copy(all, b)
	return all
}

// overlay is a's entries but for those that b has too, by key, and then b's.
func overlay[T any](a, b []T, key func(T) string) []T {
	kept := slices.DeleteFunc(slices.Clone(a), func(x T) bool {
		return slices.ContainsFunc(b, func(y T) bool { return key(x) == key(y) })
	})
	return append(kept, b...)
}
