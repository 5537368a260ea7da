package pod

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/internal/testkit"
)

func input() Input {
	return Input{
		Run: testkit.Run("vpn", "vpn-1").Obj(), Workspace: testkit.Workspace("vpn").Credential("cloud", "keys").Obj(),
		Class: testkit.Class("default"), SecretName: "vpn-0123456789", State: job.State{URL: "https://state:8443", CA: "PEM"},
	}
}

func paramsOf(t *testing.T, p *corev1.Pod) job.Params {
	t.Helper()
	args := p.Spec.Containers[0].Args
	if len(args) != 2 || args[0] != "run" {
		t.Fatalf("args are %q", args)
	}
	got, err := job.ParseParams(args[1])
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestBuild_Restricted asserts what PodSecurity's restricted profile asks for, and what OpenShift's restricted-v2 does.
func TestBuild_Restricted(t *testing.T) {
	p := Build(input())
	c := p.Spec.Containers[0]
	want := &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true), RunAsNonRoot: new(true),
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	if diff := cmp.Diff(want, c.SecurityContext); diff != "" {
		t.Error(diff)
	}
	wantPod := &corev1.PodSecurityContext{
		RunAsNonRoot: new(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	if diff := cmp.Diff(wantPod, p.Spec.SecurityContext); diff != "" {
		t.Error(diff)
	}
	if p.Spec.HostNetwork || p.Spec.HostPID || p.Spec.HostIPC || len(p.Spec.InitContainers) > 0 {
		t.Error("it asks for the host")
	}
}

func TestBuild_Volumes(t *testing.T) {
	p := Build(input())
	for _, v := range p.Spec.Volumes {
		if v.Secret == nil && v.EmptyDir == nil && v.Projected == nil {
			t.Errorf("volume %q is of a kind that the profile doesn't name", v.Name)
		}
		if v.EmptyDir != nil && v.EmptyDir.SizeLimit == nil {
			t.Errorf("volume %q has no limit", v.Name)
		}
	}
}

func TestBuild_NoTokenForTheKubernetesAPI(t *testing.T) {
	p := Build(input())
	if p.Spec.AutomountServiceAccountToken == nil || *p.Spec.AutomountServiceAccountToken {
		t.Error("the API token is mounted")
	}
	for _, v := range p.Spec.Volumes {
		if v.Projected == nil {
			continue
		}
		for _, s := range v.Projected.Sources {
			if s.ServiceAccountToken == nil || s.ServiceAccountToken.Audience != job.StateAudience {
				t.Errorf("volume %q has a token for someone else", v.Name)
			}
		}
	}
}

func TestBuild_OneRunIsOnePodThatIsNeverRestarted(t *testing.T) {
	in := input()
	p := Build(in)
	if p.Name != in.Run.Name || p.Namespace != in.Run.Namespace || !metav1.IsControlledBy(p, in.Run) {
		t.Errorf("%s/%s is not the Run's", p.Namespace, p.Name)
	}
	if p.Spec.RestartPolicy != corev1.RestartPolicyNever || len(p.Spec.Containers) != 1 {
		t.Error("it may run twice")
	}
}

func TestBuild_EveryMountHasItsVolume(t *testing.T) {
	p := Build(input())
	names := map[string]bool{}
	for _, v := range p.Spec.Volumes {
		names[v.Name] = true
	}
	paths := map[string]bool{}
	for _, m := range p.Spec.Containers[0].VolumeMounts {
		if !names[m.Name] || paths[m.MountPath] {
			t.Errorf("mount %q at %s", m.Name, m.MountPath)
		}
		paths[m.MountPath] = true
	}
	for _, path := range []string{job.SpecDir, job.WorkDir, "/tmp", "/var/run/secrets/plumbline/state",
		job.CredentialsDir + "/cloud"} {
		if !paths[path] {
			t.Errorf("nothing is mounted at %s", path)
		}
	}
}

func TestBuild_Params(t *testing.T) {
	in := input()
	in.Run.Spec.Targets, in.Run.Spec.Replace = []string{"a.b"}, []string{"c.d"}
	in.Class.Spec.PluginMirror = &v1alpha1.PluginMirror{Path: "/plugins", Direct: true}
	in.Class.Spec.PodTemplate = &v1alpha1.PodTemplate{Env: []corev1.EnvVar{{Name: "HTTPS_PROXY", Value: "x"}}}
	want := job.Params{
		Version: job.Version, Namespace: testkit.Namespace, Workspace: "vpn", Run: "vpn-1", Operation: job.Apply,
		Targets: []string{"a.b"}, Replace: []string{"c.d"}, PassEnv: []string{"HTTPS_PROXY"},
		Timeouts: job.Timeouts{
			Credentials: 30 * time.Second, Init: 10 * time.Minute, Plan: 30 * time.Minute, Apply: time.Hour,
			Stall: 10 * time.Minute, Grace: time.Minute,
		},
		PluginMirror: job.PluginMirror{Path: "/plugins", Direct: true}, State: in.State,
	}
	if diff := cmp.Diff(want, paramsOf(t, Build(in))); diff != "" {
		t.Error(diff)
	}
}

// A Run that nobody expects a change of plans first.
func TestBuild_Checks(t *testing.T) {
	for _, test := range []struct {
		trigger   v1alpha1.TriggerKind
		operation v1alpha1.Operation
		replace   []string
		want      bool
	}{
		{v1alpha1.TriggerSchedule, v1alpha1.OperationApply, nil, true},
		{v1alpha1.TriggerRerun, v1alpha1.OperationApply, nil, true},
		{v1alpha1.TriggerRerun, v1alpha1.OperationApply, []string{"a.b"}, false},
		{v1alpha1.TriggerSchedule, v1alpha1.OperationPlan, nil, false},
		{v1alpha1.TriggerChange, v1alpha1.OperationApply, nil, false},
		{v1alpha1.TriggerRetry, v1alpha1.OperationApply, nil, false},
		{v1alpha1.TriggerDeletion, v1alpha1.OperationDestroy, nil, false},
	} {
		in := input()
		in.Run.Spec.Trigger.Kind, in.Run.Spec.Operation, in.Run.Spec.Replace = test.trigger, test.operation, test.replace
		if got := paramsOf(t, Build(in)).Check; got != test.want {
			t.Errorf("%s by %s, replacing %v: got %v", test.operation, test.trigger, test.replace, got)
		}
	}
}

func TestBuild_Timeouts(t *testing.T) {
	minutes := func(n int) *metav1.Duration { return &metav1.Duration{Duration: time.Duration(n) * time.Minute} }
	for _, test := range []struct {
		name             string
		class, workspace *v1alpha1.Timeouts
		apply, grace     time.Duration
	}{
		{"built in", nil, nil, time.Hour, time.Minute},
		{"the class's", &v1alpha1.Timeouts{Apply: minutes(20)}, nil, 20 * time.Minute, time.Minute},
		{"the Workspace's, also a longer one", nil, &v1alpha1.Timeouts{Apply: minutes(90)}, 90 * time.Minute, time.Minute},
		{"a Workspace narrows its class's", &v1alpha1.Timeouts{Apply: minutes(20)},
			&v1alpha1.Timeouts{Apply: minutes(10)}, 10 * time.Minute, time.Minute},
		{"and doesn't widen it", &v1alpha1.Timeouts{Apply: minutes(20)},
			&v1alpha1.Timeouts{Apply: minutes(30), Grace: minutes(5)}, 20 * time.Minute, 5 * time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := input()
			in.Class.Spec.Timeouts, in.Workspace.Spec.Timeouts = test.class, test.workspace
			p := Build(in)
			got := paramsOf(t, p).Timeouts
			if got.Apply != test.apply || got.Grace != test.grace {
				t.Errorf("got %+v", got)
			}
			sum := got.Init + got.Plan + got.Apply + got.Grace
			if deadline := time.Duration(*p.Spec.ActiveDeadlineSeconds) * time.Second; deadline <= sum {
				t.Errorf("the Pod ends after %s, its steps may take %s", deadline, sum)
			}
			if grace := time.Duration(*p.Spec.TerminationGracePeriodSeconds) * time.Second; grace != got.Grace+30*time.Second {
				t.Errorf("the Pod's grace is %s", grace)
			}
		})
	}
}

func TestBuild_TemplatesMerge(t *testing.T) {
	in := input()
	in.Class.Spec.PodTemplate = &v1alpha1.PodTemplate{
		Labels: map[string]string{"a": "class", "b": "class",
			LabelName: "mine"}, Annotations: map[string]string{v1alpha1.LabelWorkspace: "mine"},
		Env:          []corev1.EnvVar{{Name: "A", Value: "class"}, {Name: "B", Value: "class"}},
		NodeSelector: map[string]string{"disk": "ssd"}, PriorityClassName: "low",
		Tolerations:      []corev1.Toleration{{Key: "class"}},
		ImagePullSecrets: []corev1.LocalObjectReference{{Name: "shared"}, {Name: "class"}},
		Affinity:         &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{}},
	}
	in.Workspace.Spec.PodTemplate = &v1alpha1.PodTemplate{
		Labels: map[string]string{"b": "workspace"}, Env: []corev1.EnvVar{{Name: "A", Value: "workspace"}},
		NodeSelector: map[string]string{"zone": "x", "disk": "any"}, PriorityClassName: "high",
		Tolerations:      []corev1.Toleration{{Key: "workspace"}},
		ImagePullSecrets: []corev1.LocalObjectReference{{Name: "shared"}},
	}
	p := Build(in)
	for _, check := range []struct {
		what      string
		got, want any
	}{
		{"labels", []string{p.Labels["a"], p.Labels["b"]}, []string{"class", "workspace"}},
		{"our labels win", []string{p.Labels[LabelName], p.Annotations[v1alpha1.LabelWorkspace]}, []string{Name, "vpn"}},
		{"environment", p.Spec.Containers[0].Env[:2],
			[]corev1.EnvVar{{Name: "B", Value: "class"}, {Name: "A", Value: "workspace"}}},
		{"node selector", p.Spec.NodeSelector, map[string]string{"disk": "ssd", "zone": "x"}},
		{"priority", p.Spec.PriorityClassName, "low"},
		{"tolerations", p.Spec.Tolerations, []corev1.Toleration{{Key: "class"}}},
		{"pull secrets", p.Spec.ImagePullSecrets, []corev1.LocalObjectReference{{Name: "class"}, {Name: "shared"}}},
		{"affinity", p.Spec.Affinity, in.Class.Spec.PodTemplate.Affinity},
	} {
		if diff := cmp.Diff(check.want, check.got); diff != "" {
			t.Errorf("%s: %s", check.what, diff)
		}
	}
}

func TestBuild_Resources(t *testing.T) {
	memory := func(requests, limits string) *v1alpha1.PodTemplate {
		r := &corev1.ResourceRequirements{Requests: corev1.ResourceList{}, Limits: corev1.ResourceList{}}
		if requests != "" {
			r.Requests[corev1.ResourceMemory] = resource.MustParse(requests)
		}
		if limits != "" {
			r.Limits[corev1.ResourceMemory] = resource.MustParse(limits)
		}
		return &v1alpha1.PodTemplate{Resources: r}
	}
	for _, test := range []struct {
		name             string
		class, workspace *v1alpha1.PodTemplate
		request, limit   string
	}{
		{"built in", nil, nil, "128Mi", "2Gi"},
		{"the class's", memory("256Mi", "512Mi"), nil, "256Mi", "512Mi"},
		{"the Workspace's over the class's", memory("256Mi", "512Mi"), memory("", "1Gi"), "256Mi", "1Gi"},
		{"a small limit lowers the request", nil, memory("", "64Mi"), "64Mi", "64Mi"},
		{"a large request lifts the limit", nil, memory("4Gi", ""), "4Gi", "4Gi"},
		{"a Workspace's large request lifts its class's limit", memory("", "1Gi"), memory("4Gi", ""), "4Gi", "4Gi"},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := input()
			in.Class.Spec.PodTemplate, in.Workspace.Spec.PodTemplate = test.class, test.workspace
			r := Build(in).Spec.Containers[0].Resources
			if r.Requests.Memory().String() != test.request || r.Limits.Memory().String() != test.limit {
				t.Errorf("got %s of %s", r.Requests.Memory(), r.Limits.Memory())
			}
			if !r.Limits.Cpu().IsZero() {
				t.Error("there is a CPU limit: it slows every start")
			}
		})
	}
}

func TestBuild_NamesOfAnyLengthFit(t *testing.T) {
	label := regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)
	for _, n := range []int{1, 62, 63, 64, 253} {
		in := input()
		name := strings.Repeat("w", n)
		in.Workspace = testkit.Workspace(name).Credential(strings.Repeat("c", min(n, 63)), "keys").Obj()
		in.Run = testkit.Run(name, strings.Repeat("r", n)).Obj()
		p := Build(in)
		if len(p.Name) > 63 || p.Annotations[v1alpha1.LabelWorkspace] != name {
			t.Errorf("%d characters: Pod %q of Workspace %q", n, p.Name, p.Annotations[v1alpha1.LabelWorkspace])
		}
		for key, value := range p.Labels {
			if len(value) > 63 || !label.MatchString(value) {
				t.Errorf("%d characters: label %s=%q", n, key, value)
			}
		}
		long := slices.IndexFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return len(v.Name) > 63 })
		if long >= 0 {
			t.Errorf("%d characters: volume %q", n, p.Spec.Volumes[long].Name)
		}
	}
}

func TestBuild_LeavesItsArgumentsAlone(t *testing.T) {
	in, again := input(), input()
	in.Class.Spec.PodTemplate = &v1alpha1.PodTemplate{Labels: map[string]string{"a": "b"}}
	again.Class.Spec.PodTemplate = &v1alpha1.PodTemplate{Labels: map[string]string{"a": "b"}}
	Build(in)
	if diff := cmp.Diff(again, in); diff != "" {
		t.Error(diff)
	}
}

// TestBuild_SecretEnvIsNamed: the driver masks what comes from Secrets, and nothing else.
func TestBuild_SecretEnvIsNamed(t *testing.T) {
	in := input()
	in.Workspace.Spec.PodTemplate = &v1alpha1.PodTemplate{Env: []corev1.EnvVar{
		{Name: "PROXY", Value: "x"},
		{Name: "API", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{Key: "k"}}},
		{Name: "CONF", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{Key: "k"}}},
	}}
	got := paramsOf(t, Build(in))
	want := [][]string{{"PROXY", "API", "CONF"}, {"API"}}
	if diff := cmp.Diff(want, [][]string{got.PassEnv, got.SecretEnv}); diff != "" {
		t.Errorf("passed, and secret among them (-want +got):\n%s", diff)
	}
}

// TestBuild_EngineIsTheWorkspacesBeforeTheClasss: each field by itself.
func TestBuild_EngineIsTheWorkspacesBeforeTheClasss(t *testing.T) {
	for _, test := range []struct {
		name             string
		class, workspace *v1alpha1.Engine
		want             job.Engine
	}{
		{"nobody says", nil, nil, job.Engine{}},
		{"the class", &v1alpha1.Engine{Parallelism: 4}, nil, job.Engine{Parallelism: 4}},
		{"both", &v1alpha1.Engine{Parallelism: 4}, &v1alpha1.Engine{LogLevel: "DEBUG"},
			job.Engine{Parallelism: 4, LogLevel: "DEBUG"}},
		{"the Workspace wins", &v1alpha1.Engine{Parallelism: 4, LogLevel: "WARN"},
			&v1alpha1.Engine{Parallelism: 1, LogLevel: "TRACE"}, job.Engine{Parallelism: 1, LogLevel: "TRACE"}},
	} {
		in := input()
		in.Class.Spec.Engine, in.Workspace.Spec.Engine = test.class, test.workspace
		got, err := job.ParseParams(Build(in).Spec.Containers[0].Args[1])
		if err != nil || got.Engine != test.want {
			t.Errorf("%s: got %+v, %v; want %+v", test.name, got.Engine, err, test.want)
		}
	}
}
