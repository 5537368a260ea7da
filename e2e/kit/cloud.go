package kit

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/rest"

	"github.com/plumbline-dev/plumbline/e2e/cloud"
)

const (
	cloudNamespace = "plumbline-e2e"
	cloudName      = "cloud"
	cloudImage     = "localhost/plumbline/cloud:e2e"
	cloudPort      = 8080
	// CloudURL is how a runner Pod reaches the cloud.
	CloudURL = "http://cloud.plumbline-e2e.svc:8080"
)

func (k *Kit) startCloud(ctx context.Context) error {
	labels := map[string]string{"app": cloudName}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: cloudNamespace, Labels: restricted}}
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: cloudNamespace, Name: cloudName},
		Spec: corev1.ServiceSpec{
			Selector: labels, Ports: []corev1.ServicePort{{Port: cloudPort}},
		},
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: cloudNamespace, Name: cloudName, Labels: labels},
		Spec: corev1.PodSpec{
			AutomountServiceAccountToken: new(false),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: new(true), RunAsUser: new(int64(65532)),
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				Name: cloudName, Image: cloudImage, ImagePullPolicy: corev1.PullIfNotPresent,
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: new(false),
					Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
				ReadinessProbe: &corev1.Probe{
					PeriodSeconds: 1,
					ProbeHandler: corev1.ProbeHandler{
						HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromInt32(cloudPort)},
					},
				},
			}},
		},
	}
	if err := k.replace(ctx, namespace); err != nil {
		return err
	}
	if err := k.replace(ctx, service); err != nil {
		return err
	}
	if err := k.replace(ctx, pod); err != nil {
		return err
	}
	return k.until(ctx, func(ctx context.Context) error { return k.cloud("GET", "/healthz").Do(ctx).Error() })
}

// cloud is a request to the cloud by way of the API server, so that it works with any cluster.
func (k *Kit) cloud(verb, path string) *rest.Request {
	return k.Set.CoreV1().RESTClient().Verb(verb).
		AbsPath("/api/v1/namespaces", cloudNamespace, "services", cloudName+":"+strconv.Itoa(cloudPort), "proxy", path)
}

// Faults replaces the faults of the Space's part of the cloud; none takes all away.
func (s *Space) Faults(t testing.TB, faults ...cloud.Fault) {
	t.Helper()
	body, err := json.Marshal(faults)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cloud("PUT", "/spaces/"+s.Name+"/faults").Body(body).Do(t.Context()).Error(); err != nil {
		t.Fatalf("setting faults: %v", err)
	}
}

// IssueToken makes a token good in the cloud for a while; with 0 it has expired.
func (s *Space) IssueToken(t testing.TB, token string, lasts time.Duration) {
	t.Helper()
	err := s.cloud("PUT", "/spaces/"+s.Name+"/tokens/"+token).
		Param("seconds", strconv.Itoa(int(lasts.Seconds()))).Do(t.Context()).Error()
	if err != nil {
		t.Fatalf("issuing a token: %v", err)
	}
}

// AwaitBegun waits until the provider has begun an operation so many times.
func (s *Space) AwaitBegun(t testing.TB, op string, times int) {
	t.Helper()
	ctx, cancel := s.deadline(t)
	defer cancel()
	err := s.cloud("GET", "/spaces/"+s.Name+"/operations/"+op).Param("atleast", strconv.Itoa(times)).Do(ctx).Error()
	if err != nil {
		t.Fatalf("waiting for %s: %v", op, err)
	}
}

// Begun is how often the provider began an operation, or for cloud.Made how many things were made.
func (s *Space) Begun(t testing.TB, op string) int {
	t.Helper()
	var n int
	s.ask(t, "/spaces/"+s.Name+"/operations/"+op, &n)
	return n
}

// Things are what is in the Space's part of the cloud.
func (s *Space) Things(t testing.TB) map[string]string {
	t.Helper()
	var all map[string]string
	s.ask(t, "/spaces/"+s.Name+"/things", &all)
	return all
}

// AwaitThings waits until so many are there.
func (s *Space) AwaitThings(t testing.TB, want int) {
	t.Helper()
	ctx, cancel := s.deadline(t)
	defer cancel()
	err := s.until(ctx, func(context.Context) error {
		if n := len(s.Things(t)); n != want {
			return fmt.Errorf("there are %d", n)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("waiting for %d things: %v", want, err)
	}
}

// Drift changes a thing behind Terraform's back.
func (s *Space) Drift(t testing.TB, name, value string) {
	t.Helper()
	path := "/spaces/" + s.Name + "/things/" + url.PathEscape(name)
	if err := s.cloud("PUT", path).Body([]byte(value)).Do(t.Context()).Error(); err != nil {
		t.Fatalf("changing thing %q: %v", name, err)
	}
}

func (s *Space) ask(t testing.TB, path string, answer any) {
	t.Helper()
	raw, err := s.cloud("GET", path).Do(t.Context()).Raw()
	if err == nil {
		err = json.Unmarshal(raw, answer)
	}
	if err != nil {
		t.Fatalf("asking the cloud for %s: %v", path, err)
	}
}

// Provider is the configuration of the cloud's provider.
func (s *Space) Provider() string {
	return fmt.Sprintf(`terraform {
  required_providers {
    cloud = { source = "plumbline-dev/cloud" }
  }
}

provider "cloud" {
  endpoint = %q
  space    = %q
}
`, CloudURL, s.Name)
}

// Thing is the configuration of one thing, with its value as an output.
func Thing(name, value string) string {
	return fmt.Sprintf("resource \"cloud_thing\" %[1]q {\n  name  = %[1]q\n  value = %[2]q\n}\n\n"+
		"output %[1]q {\n  value = cloud_thing.%[1]s.value\n}\n", name, value)
}
