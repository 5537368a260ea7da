package inputs

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/internal/testkit"
	"github.com/plumbline-dev/plumbline/runner/render"
)

func scheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(s), v1alpha1.AddToScheme(s)); err != nil {
		t.Fatal(err)
	}
	return s
}

func cluster(t *testing.T, objects ...client.Object) client.WithWatch {
	t.Helper()
	return fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(objects...).Build()
}

func TestBundleResolvesWhatVariablesName(t *testing.T) {
	c := cluster(t,
		testkit.Secret("vpn", map[string]string{"psk": "${not} \"evaluated\"\n"}),
		testkit.ConfigMap("net", map[string]string{"cidr": "10.0.0.0/8"}))
	w := testkit.Workspace("a").Value("region", `{"a":[1,null]}`).Value("floor", "null").Null("roof").
		FromSecret("psk", "vpn", "psk").FromConfigMap("cidr", "net", "cidr").Credential("cloud", "vpn").Obj()
	b, err := Bundle(t.Context(), c, w)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b.Data[render.VariablesFile], &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"region": map[string]any{"a": []any{1.0, nil}}, "floor": nil, "roof": nil,
		"psk": "${not} \"evaluated\"\n", "cidr": "10.0.0.0/8",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	binary := testkit.Secret("bin", nil)
	binary.Data["key"] = []byte{0xff, 0xfe}
	objects := []client.Object{testkit.Secret("vpn", nil), testkit.ConfigMap("net", nil), binary}
	for _, test := range []struct {
		name      string
		workspace *testkit.WorkspaceBuilder
		want      string
	}{
		{"a Secret", testkit.Workspace("a").FromSecret("psk", "nope", "psk"),
			`Secret "nope" does not exist (variable "psk")`},
		{"a Secret's key", testkit.Workspace("a").FromSecret("psk", "vpn", "psk"),
			`Secret "vpn" has no key "psk" (variable "psk")`},
		{"a ConfigMap", testkit.Workspace("a").FromConfigMap("v", "nope", "k"),
			`ConfigMap "nope" does not exist (variable "v")`},
		{"a ConfigMap's key", testkit.Workspace("a").FromConfigMap("v", "net", "k"),
			`ConfigMap "net" has no key "k" (variable "v")`},
		{"a credential's Secret", testkit.Workspace("a").Credential("cloud", "nope"),
			`Secret "nope" does not exist (credential "cloud")`},
		{"a backend's Secret", testkit.Workspace("a").With(func(w *v1alpha1.Workspace) {
			w.Spec.Backend = &v1alpha1.Backend{Type: "pg", SecretRef: &v1alpha1.SecretRef{Name: "nope"}}
		}), `Secret "nope" does not exist (spec.backend)`},
		{"a value that is no text", testkit.Workspace("a").FromSecret("v", "bin", "key"),
			`the value of variable "v" is not UTF-8 text: encode it, with base64 for example`},
		{"a variable of nothing", testkit.Workspace("a").With(func(w *v1alpha1.Workspace) {
			w.Spec.Variables = []v1alpha1.Variable{{Name: "v", ValueFrom: &v1alpha1.ValueFrom{}}}
		}), `valueFrom of variable "v" names nothing`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Bundle(t.Context(), cluster(t, objects...), test.workspace.Obj())
			var missing *MissingError
			if !errors.As(err, &missing) || missing.What != test.want || missing.Reason != v1alpha1.ReasonInputsMissing {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

func TestAFailedReadIsAnErrorAndNothingMissing(t *testing.T) {
	broken := interceptor.NewClient(cluster(t), interceptor.Funcs{
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return errors.New("connection refused")
		},
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
			return errors.New("connection refused")
		},
	})
	var missing *MissingError
	for _, w := range []*testkit.WorkspaceBuilder{
		testkit.Workspace("a").FromSecret("v", "s", "k"), testkit.Workspace("a").FromConfigMap("v", "s", "k"),
		testkit.Workspace("a").Credential("c", "s"),
	} {
		if _, err := Bundle(t.Context(), broken, w.Obj()); err == nil || errors.As(err, &missing) {
			t.Errorf("got %v", err)
		}
	}
	for _, w := range []*testkit.WorkspaceBuilder{testkit.Workspace("a"), testkit.Workspace("a").Class("c")} {
		if _, err := Class(t.Context(), broken, w.Obj()); err == nil || errors.As(err, &missing) {
			t.Errorf("got %v", err)
		}
	}
}

func TestACredentialsContentCountsAndItsLabelsDoNot(t *testing.T) {
	w := testkit.Workspace("a").Credential("cloud", "keys").Obj()
	digest := func(s *corev1.Secret) string {
		t.Helper()
		b, err := Bundle(t.Context(), cluster(t, s), w)
		if err != nil {
			t.Fatal(err)
		}
		return b.Digest
	}
	s := testkit.Secret("keys", map[string]string{"A": "1", "B": "2"})
	before := digest(s)
	s.Labels = map[string]string{"seen": "yes"}
	if digest(s) != before {
		t.Error("a label counts as a change")
	}
	if digest(testkit.Secret("keys", map[string]string{"A": "2", "B": "1"})) == before {
		t.Error("other content doesn't count as a change")
	}
}

func TestClass(t *testing.T) {
	plain := testkit.Class("plain")
	plain.Annotations = nil
	newer := testkit.Class("y")
	newer.CreationTimestamp = metav1.NewTime(testkit.At(time.Hour))
	for _, test := range []struct {
		name      string
		classes   []client.Object
		workspace *testkit.WorkspaceBuilder
		want, err string
	}{
		{"the one that is named", []client.Object{plain, testkit.Class("x")}, testkit.Workspace("a").Class("plain"),
			"plain", ""},
		{"the one that is marked", []client.Object{plain, testkit.Class("x")}, testkit.Workspace("a"), "x", ""},
		{"a name that doesn't exist", []client.Object{testkit.Class("x")}, testkit.Workspace("a").Class("y"), "",
			`RunnerClass "y" does not exist`},
		{"none marked", []client.Object{plain}, testkit.Workspace("a"), "", "no RunnerClass is annotated"},
		{"of two that are marked the newer one", []client.Object{testkit.Class("x"), newer}, testkit.Workspace("a"), "y", ""},
		{"of two of one second the first by name", []client.Object{testkit.Class("x"), testkit.Class("w")},
			testkit.Workspace("a"), "w", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			class, err := Class(t.Context(), cluster(t, test.classes...), test.workspace.Obj())
			var missing *MissingError
			switch {
			case test.err == "" && (err != nil || class.Name != test.want):
				t.Errorf("got %v, %v", class, err)
			case test.err != "" && (!errors.As(err, &missing) || !strings.Contains(err.Error(), test.err)):
				t.Errorf("got error %v", err)
			case test.err != "" && missing.Reason != v1alpha1.ReasonRunnerClassMissing:
				t.Errorf("got reason %s", missing.Reason)
			}
		})
	}
}

func TestReferences(t *testing.T) {
	w := testkit.Workspace("a").Value("v", "1").FromSecret("w", "s", "k").FromSecret("x", "s", "l").
		FromConfigMap("y", "s", "k").Credential("c", "t").With(func(w *v1alpha1.Workspace) {
		w.Spec.Backend = &v1alpha1.Backend{Type: "pg", SecretRef: &v1alpha1.SecretRef{Name: "b"}}
		w.Status.Backend = &v1alpha1.StatePlace{Type: "s3", SecretName: "before"}
	}).Obj()
	want := []string{ConfigMapReference("s"), SecretReference("b"), SecretReference("before"), SecretReference("s"),
		SecretReference("t")}
	if diff := cmp.Diff(want, References(w)); diff != "" {
		t.Error(diff)
	}
}
