package definitions

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"
)

// installed are the definitions of this release, by name, as far as a test leaves them.
func installed(t *testing.T, change func(map[string]*unstructured.Unstructured)) client.WithWatch {
	t.Helper()
	files, err := filepath.Glob("../../deploy/crds/*.yaml")
	if err != nil || len(files) != len(kinds) {
		t.Fatalf("found %d definitions, error %v", len(files), err)
	}
	all := map[string]*unstructured.Unstructured{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		d := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(text, &d.Object); err != nil {
			t.Fatal(err)
		}
		all[d.GetName()] = d
	}
	change(all)
	b := fake.NewClientBuilder().WithScheme(runtime.NewScheme())
	for _, d := range all {
		b = b.WithObjects(d)
	}
	return b.Build()
}

// drop takes a property out of a definition.
func drop(t *testing.T, d *unstructured.Unstructured, path ...string) {
	t.Helper()
	at, last := whole(d), path[len(path)-1]
	for _, step := range path[:len(path)-1] {
		at = below(below(at, "properties"), step)
		if items := below(at, "items"); items != nil {
			at = items
		}
	}
	if _, is := below(at, "properties")[last]; !is {
		t.Fatalf("there is no %v", path)
	}
	delete(below(at, "properties"), last)
}

// whole is the schema of the one version, to be changed.
func whole(d *unstructured.Unstructured) map[string]any {
	versions := d.Object["spec"].(map[string]any)["versions"].([]any)
	return versions[0].(map[string]any)["schema"].(map[string]any)["openAPIV3Schema"].(map[string]any)
}

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*testing.T, map[string]*unstructured.Unstructured)
		want   string
	}{
		{"this release's", func(*testing.T, map[string]*unstructured.Unstructured) {}, ""},
		{"an older one without a field of the status", func(t *testing.T, all map[string]*unstructured.Unstructured) {
			drop(t, all["runs.plumbline.dev"], "status", "podGoneAt")
		}, "runs.status.podGoneAt: kubectl apply --server-side --force-conflicts -f deploy/crds"},
		{"or in a list", func(t *testing.T, all map[string]*unstructured.Unstructured) {
			drop(t, all["workspaces.plumbline.dev"], "spec", "credentials", "vault", "env")
		}, "workspaces.spec.credentials.vault.env"},
		{"a newer one has more", func(_ *testing.T, all map[string]*unstructured.Unstructured) {
			below(whole(all["runs.plumbline.dev"]), "properties")["later"] = map[string]any{"type": "string"}
		}, ""},
		{"none", func(_ *testing.T, all map[string]*unstructured.Unstructured) { delete(all, "runs.plumbline.dev") },
			"lack runs.plumbline.dev:"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := installed(t, func(all map[string]*unstructured.Unstructured) { test.change(t, all) })
			err := Check(t.Context(), c)
			var lacking *LackingError
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (!errors.As(err, &lacking) || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestWhatCannotBeReadLacksNothing: a controller whose rights don't go so far says so, and nothing else.
func TestWhatCannotBeReadLacksNothing(t *testing.T) {
	c := interceptor.NewClient(installed(t, func(map[string]*unstructured.Unstructured) {}), interceptor.Funcs{
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "customresourcedefinitions"}, "x", nil)
		},
	})
	var lacking *LackingError
	if err := Check(t.Context(), c); err == nil || errors.As(err, &lacking) {
		t.Errorf("got %v", err)
	}
}
