package inputs

import (
	"encoding/pem"
	"errors"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/internal/testkit"
)

func TestTrust(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	c := cluster(t, testkit.ConfigMap("good", map[string]string{"ca.crt": ca}),
		testkit.ConfigMap("bad", map[string]string{"ca.crt": "-----BEGIN CERTIFICATE-----\n"}),
		testkit.Secret("good", map[string]string{"ca.crt": ca}))
	tests := []struct {
		name             string
		class, workspace v1alpha1.TrustBundle
		want             string
	}{
		{"both good", v1alpha1.TrustBundle{ConfigMapName: "good", Key: "ca.crt"},
			v1alpha1.TrustBundle{SecretName: "good", Key: "ca.crt"}, ""},
		{"the class's is missing", v1alpha1.TrustBundle{ConfigMapName: "nope", Key: "ca.crt"},
			v1alpha1.TrustBundle{SecretName: "good", Key: "ca.crt"}, `ConfigMap "nope" does not exist (trust)`},
		{"a key is missing", v1alpha1.TrustBundle{ConfigMapName: "good", Key: "ca.crt"},
			v1alpha1.TrustBundle{SecretName: "good", Key: "tls.crt"}, `Secret "good" has no key "tls.crt" (trust)`},
		{"a broken PEM", v1alpha1.TrustBundle{ConfigMapName: "good", Key: "ca.crt"},
			v1alpha1.TrustBundle{ConfigMapName: "bad", Key: "ca.crt"},
			`ConfigMap "bad", key "ca.crt": trusted CAs: of its certificates only 0 can be read: the PEM is broken`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			class := testkit.Class("x")
			class.Spec.Trust = []v1alpha1.TrustBundle{test.class}
			w := testkit.Workspace("a").With(func(w *v1alpha1.Workspace) {
				w.Spec.Trust = []v1alpha1.TrustBundle{test.workspace}
			}).Obj()
			err := Trust(t.Context(), c, w, class)
			var missing *MissingError
			if test.want == "" && err != nil || test.want != "" && (!errors.As(err, &missing) || missing.What != test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

// TestARotatedBundleIsNoChange: it starts no Run, and is watched all the same.
func TestARotatedBundleIsNoChange(t *testing.T) {
	w := testkit.Workspace("a").With(func(w *v1alpha1.Workspace) {
		w.Spec.Trust = []v1alpha1.TrustBundle{{ConfigMapName: "ca", Key: "k"}, {SecretName: "ca", Key: "k"}}
	}).Obj()
	want := []string{ConfigMapReference("ca"), SecretReference("ca")}
	if diff := cmp.Diff(want, References(w)); diff != "" {
		t.Error(diff)
	}
	var digests []string
	for _, content := range []string{"one", "two"} {
		b, err := Bundle(t.Context(), cluster(t, testkit.ConfigMap("ca", map[string]string{"k": content})), w)
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, b.Digest)
	}
	if digests[0] != digests[1] {
		t.Error("it is a change")
	}
}
