//go:build integration

// Package deploy holds what is deployed; here is the proof that the chart makes what it promises.
package deploy

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/plumbline-dev/plumbline/internal/tools"
)

func render(t *testing.T, args ...string) (string, error) {
	t.Helper()
	helm, err := tools.Path(t.Context(), t.Logf, "helm", "")
	if err != nil {
		t.Fatal(err)
	}
	args = append([]string{"template", "rel", "chart", "--namespace", "ns", "--kube-version", "1.36.3"}, args...)
	output, err := exec.CommandContext(t.Context(), helm, args...).CombinedOutput()
	return string(output), err
}

func objects(t *testing.T, args ...string) []unstructured.Unstructured {
	t.Helper()
	output, err := render(t, args...)
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	var list []unstructured.Unstructured
	for document := range strings.SplitSeq(output, "\n---\n") {
		var u unstructured.Unstructured
		if err := yaml.Unmarshal([]byte(document), &u.Object); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		if len(u.Object) > 0 {
			list = append(list, u)
		}
	}
	return list
}

func deployments(t *testing.T, args ...string) map[string]appsv1.Deployment {
	t.Helper()
	found := map[string]appsv1.Deployment{}
	for _, u := range objects(t, args...) {
		if u.GetKind() != "Deployment" {
			continue
		}
		var d appsv1.Deployment
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &d); err != nil {
			t.Fatal(err)
		}
		found[d.Labels["app.kubernetes.io/component"]] = d
	}
	if len(found) != 2 {
		t.Fatalf("want Deployments controller and state, got %d", len(found))
	}
	return found
}

func TestNamesFollowTheRelease(t *testing.T) {
	for _, u := range objects(t, "--set", "extraLabels.team=blue") {
		if u.GetKind() != "RunnerClass" && !strings.HasPrefix(u.GetName(), "rel-plumbline-") {
			t.Errorf("%s %s is not named after the release", u.GetKind(), u.GetName())
		}
		if u.GetLabels()["app.kubernetes.io/name"] != "plumbline" || u.GetLabels()["team"] != "blue" {
			t.Errorf("%s %s has labels %v", u.GetKind(), u.GetName(), u.GetLabels())
		}
	}
}

// PodSecurity "restricted", and OpenShift's restricted-v2, which refuses a fixed UID or group.
func TestPodsAreRestricted(t *testing.T) {
	pod := &corev1.PodSecurityContext{
		RunAsNonRoot:   new(true),
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	container := &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false),
		ReadOnlyRootFilesystem:   new(true),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	for component, d := range deployments(t) {
		spec := d.Spec.Template.Spec
		if diff := cmp.Diff(pod, spec.SecurityContext); diff != "" {
			t.Errorf("%s: Pod (-want +got)\n%s", component, diff)
		}
		if diff := cmp.Diff(container, spec.Containers[0].SecurityContext); diff != "" {
			t.Errorf("%s: container (-want +got)\n%s", component, diff)
		}
	}
}

func TestValuesReachThePods(t *testing.T) {
	all := deployments(t, "--set", "image.registry=r,image.repository=a/b,image.tag=v1", "--set-json",
		`state={"replicas":3,"nodeSelector":{"infra":"yes"},"podLabels":{"a":"b"},"extraArgs":["--x"]}`)
	state := all["state"]
	pod := state.Spec.Template.Spec
	if *state.Spec.Replicas != 3 || pod.NodeSelector["infra"] != "yes" || state.Spec.Template.Labels["a"] != "b" ||
		pod.Containers[0].Image != "r/a/b/state:v1" || !strings.Contains(strings.Join(pod.Containers[0].Args, " "), "--x") {
		t.Errorf("got %+v", state.Spec)
	}
	if len(all["controller"].Spec.Template.Spec.NodeSelector) != 0 {
		t.Error("the controller has the state service's node selector")
	}
}

func TestStoreReachesTheStatePodAlone(t *testing.T) {
	all := deployments(t, "--set-json", `state.store={"url":"postgres://db/states?passwordfile=/x","secretName":"creds",`+
		`"env":[{"name":"PGSSLMODE","value":"verify-full"}],"fsGroup":1000,"volume":{"emptyDir":{}}}`)
	pod := all["state"].Spec.Template.Spec
	container := pod.Containers[0]
	mounts := map[string]string{}
	for _, m := range container.VolumeMounts {
		mounts[m.Name] = m.MountPath
	}
	want := map[string]string{
		"store-credentials": "/var/run/secrets/plumbline/store", "store": "/var/lib/plumbline/store",
	}
	if diff := cmp.Diff(want, mounts); diff != "" {
		t.Errorf("mounts (-want +got)\n%s", diff)
	}
	if !slices.Contains(container.Args, "--store=postgres://db/states?passwordfile=/x") ||
		!slices.Contains(container.Env, corev1.EnvVar{Name: "PGSSLMODE", Value: "verify-full"}) ||
		*pod.SecurityContext.FSGroup != 1000 || pod.Volumes[0].Secret.SecretName != "creds" {
		t.Errorf("got %v, %v, %+v", container.Args, container.Env, pod.Volumes)
	}
	controller := all["controller"].Spec.Template.Spec
	configured := func(e corev1.EnvVar) bool { return e.Name == "PGSSLMODE" }
	if len(controller.Volumes) != 1 || slices.ContainsFunc(controller.Containers[0].Env, configured) ||
		controller.SecurityContext.FSGroup != nil {
		t.Errorf("the controller has the state's store: %+v", controller.Volumes)
	}
}

func TestTheAPIForPeopleCanBeLeftOut(t *testing.T) {
	for enabled, want := range map[string]bool{"true": true, "false": false} {
		value := "state.peopleAPI.enabled=" + enabled
		args := deployments(t, "--set", value+",state.peopleAPI.caFile=/ca")["state"].Spec.Template.Spec.Containers[0].Args
		registers := slices.Contains(args, "--register-api") && slices.Contains(args, "--api-owner=rel-plumbline-state") &&
			slices.Contains(args, "--api-ca-file=/ca")
		output, err := render(t, "--set", value)
		if err != nil {
			t.Fatal(err)
		}
		if opens := strings.Contains(output, "apiGroups: [state.plumbline.dev]"); registers != want || opens != want {
			t.Errorf("%s: registers %v, opens the group %v", value, registers, opens)
		}
		// The owner that the registration names must be there.
		owner := "kind: ClusterRole\nmetadata:\n  name: rel-plumbline-state\n"
		if !strings.Contains(output, owner) {
			t.Errorf("%s: there is no %q", value, owner)
		}
	}
}

func TestTransitKeyReachesTheStatePodAlone(t *testing.T) {
	all := deployments(t, "--set-json", `state.sealing.transit={"address":"https://vault.vault:8200",`+
		`"authPath":"auth/jwt","namespace":"a/b","audience":"https://vault","caSecretName":"ca"}`)
	pod := all["state"].Spec.Template.Spec
	want := corev1.EnvVar{
		Name: "PLUMBLINE_SEAL_TRANSIT",
		Value: "https://vault.vault:8200/plumbline?auth=auth%2Fjwt" +
			"&ca=%2Fvar%2Frun%2Fsecrets%2Fplumbline%2Fvault-ca%2Fca.crt&mount=transit&namespace=a%2Fb&role=plumbline-state",
	}
	if !slices.Contains(pod.Containers[0].Env, want) {
		t.Errorf("got %v, want %v", pod.Containers[0].Env, want)
	}
	mounts := map[string]string{}
	for _, m := range pod.Containers[0].VolumeMounts {
		mounts[m.Name] = m.MountPath
	}
	if diff := cmp.Diff(map[string]string{
		"vault-token": "/var/run/secrets/plumbline/vault", "vault-ca": "/var/run/secrets/plumbline/vault-ca",
	}, mounts); diff != "" {
		t.Errorf("mounts (-want +got)\n%s", diff)
	}
	token := pod.Volumes[0].Projected.Sources[0].ServiceAccountToken
	if token.Audience != "https://vault" || token.Path != "token" || pod.Volumes[1].Secret.SecretName != "ca" {
		t.Errorf("got %+v", pod.Volumes)
	}
	if volumes := all["controller"].Spec.Template.Spec.Volumes; len(volumes) != 1 {
		t.Errorf("the controller has the state's token: %+v", volumes)
	}
}

// Whoever makes the certificate: the state service finds it, and the controller its CA.
func TestCertificates(t *testing.T) {
	for _, test := range []struct {
		name, tls string
		// secret and ca are the certificate's Secret and the volume source with the CA; extra are the objects beside the
		// usual, foreign that the state service waits for the Secret.
		secret, ca string
		extra      []string
		foreign    bool
	}{
		{"the service's own", `{}`, "rel-plumbline-state-tls", "Secret rel-plumbline-state-tls ca.crt", nil, false},
		{"cert-manager", `{"mode":"certManager","issuerRef":{"name":"internal","kind":"ClusterIssuer"}}`,
			"rel-plumbline-state-tls", "Secret rel-plumbline-state-tls ca.crt",
			[]string{"Certificate rel-plumbline-state-tls"}, true},
		{"cert-manager with a bundle", `{"mode":"certManager","issuerRef":{"name":"internal"},"secretName":"cert",` +
			`"ca":{"configMapName":"bundle","key":"all.pem"}}`, "cert", "ConfigMap bundle all.pem",
			[]string{"Certificate cert"}, true},
		{"OpenShift", `{"mode":"openshift"}`, "rel-plumbline-state-tls", "ConfigMap rel-plumbline-state-ca service-ca.crt",
			[]string{"ConfigMap rel-plumbline-state-ca"}, true},
		{"a Secret", `{"mode":"secret","secretName":"mine"}`, "mine", "Secret mine ca.crt", nil, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			set := []string{"--set-json", "state.tls=" + test.tls}
			all := deployments(t, set...)
			args := all["state"].Spec.Template.Spec.Containers[0].Args
			if !slices.Contains(args, "--tls-secret="+test.secret) || slices.Contains(args, "--tls-foreign") != test.foreign {
				t.Errorf("the state service is told %q", args)
			}
			if got := caSource(all["controller"].Spec.Template.Spec.Volumes[0]); got != test.ca {
				t.Errorf("the controller's CA is %s, want %s", got, test.ca)
			}
			var extra []string
			for _, u := range objects(t, set...) {
				if u.GetKind() == "Certificate" || u.GetKind() == "ConfigMap" {
					extra = append(extra, u.GetKind()+" "+u.GetName())
				}
			}
			if diff := cmp.Diff(test.extra, extra); diff != "" {
				t.Errorf("objects (-want +got)\n%s", diff)
			}
		})
	}
}

// caSource names the object, and its key, that is mounted as ca.crt.
func caSource(v corev1.Volume) string {
	for _, s := range v.Projected.Sources {
		switch {
		case s.Secret != nil && s.Secret.Items[0].Path == "ca.crt":
			return "Secret " + s.Secret.Name + " " + s.Secret.Items[0].Key
		case s.ConfigMap != nil && s.ConfigMap.Items[0].Path == "ca.crt":
			return "ConfigMap " + s.ConfigMap.Name + " " + s.ConfigMap.Items[0].Key
		}
	}
	return ""
}

// OpenShift and cert-manager make the certificate for the name that the controller and runner Pods call.
func TestCertificatesAreForTheService(t *testing.T) {
	annotated, named := "", false
	for _, u := range objects(t, "--set", "state.tls.mode=openshift") {
		if u.GetKind() == "Service" && u.GetName() == "rel-plumbline-state" {
			annotated = u.GetAnnotations()["service.beta.openshift.io/serving-cert-secret-name"]
		}
	}
	for _, u := range objects(t, "--set", "state.tls.mode=certManager,state.tls.issuerRef.name=x") {
		if u.GetKind() == "Certificate" {
			dns, _, err := unstructured.NestedStringSlice(u.Object, "spec", "dnsNames")
			named = err == nil && slices.Contains(dns, "rel-plumbline-state.ns.svc")
		}
	}
	if annotated != "rel-plumbline-state-tls" || !named {
		t.Errorf("the Service's Secret is %q; cert-manager is told the name: %v", annotated, named)
	}
}

func TestWrongValuesAreRefused(t *testing.T) {
	for _, wrong := range []string{
		"image.tagg=1", "logLevel=loud", "state.replicas=many", "extraLabels.a.b=c", "state.store.url=mysql://x",
		"state.sealing.transit.address=vault:8200", "state.sealing.transit.kee=x",
		"state.tls.mode=none", "state.tls.mode=certManager", "state.tls.mode=secret",
	} {
		if output, err := render(t, "--set", wrong); err == nil || !strings.Contains(output, "schema") {
			t.Errorf("%s: got %v\n%.300s", wrong, err, output)
		}
	}
}
