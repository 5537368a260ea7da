package kit

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Place is where something was written, and what.
type Place struct {
	Name    string
	Content []byte
}

// Etcd is the whole key space, as etcd answers it: objects, events and Secrets, also of the system's.
func (k *Kit) Etcd(t testing.TB) []Place {
	t.Helper()
	all := base64.StdEncoding.EncodeToString([]byte{0})
	body := fmt.Sprintf(`{"key": %q, "range_end": %q}`, all, all)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, k.Cluster.Etcd()+"/v3/kv/range",
		bytes.NewBufferString(body))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("reading etcd: %v", err)
	}
	defer func() { _ = answer.Body.Close() }()
	var found struct {
		Kvs []struct{ Key, Value []byte }
	}
	if err := json.NewDecoder(answer.Body).Decode(&found); err != nil {
		t.Fatalf("reading etcd: %v", err)
	}
	places := make([]Place, 0, len(found.Kvs))
	for _, kv := range found.Kvs {
		places = append(places, Place{Name: "etcd " + string(kv.Key), Content: kv.Value})
	}
	return places
}

// Logs are those of all Pods in a namespace.
func (k *Kit) Logs(t testing.TB, namespace string) []Place {
	t.Helper()
	var pods corev1.PodList
	if err := k.List(t.Context(), &pods, client.InNamespace(namespace)); err != nil {
		t.Fatalf("listing Pods: %v", err)
	}
	var places []Place
	for _, p := range pods.Items {
		text, err := k.Set.CoreV1().Pods(namespace).GetLogs(p.Name, &corev1.PodLogOptions{}).DoRaw(t.Context())
		if err != nil {
			t.Fatalf("reading the log of %s: %v", p.Name, err)
		}
		places = append(places, Place{Name: "log of Pod " + namespace + "/" + p.Name, Content: text})
	}
	return places
}

// forms are those in which a value can be written.
func forms(value string) [][]byte {
	quoted, _ := json.Marshal(value) // strings always marshal
	encoded := base64.StdEncoding.EncodeToString([]byte(value))
	return [][]byte{
		[]byte(value), []byte(encoded), []byte(base64.URLEncoding.EncodeToString([]byte(value))),
		[]byte(url.QueryEscape(value)), bytes.Trim(quoted, `"`),
	}
}

// Leaks are the places in which one of the values stands, in any form. The values themselves are not told.
func Leaks(places []Place, values []string) []string {
	var found []string
	for _, p := range places {
		for i, v := range values {
			for _, form := range forms(v) {
				if bytes.Contains(p.Content, form) {
					found = append(found, fmt.Sprintf("%s has value %d of %d", p.Name, i+1, len(values)))
					break
				}
			}
		}
	}
	return found
}

// Archive is what the state service has kept of a Run, unsealed.
func (k *Kit) Archive(ctx context.Context, namespace, run string) ([]Place, error) {
	var places []Place
	for _, part := range []string{"log", "plan.txt"} {
		path := "/apis/state.plumbline.dev/v1alpha1/namespaces/" + namespace + "/runs/" + run + "/" + part
		text, err := k.Set.CoreV1().RESTClient().Get().AbsPath(path).DoRaw(ctx)
		if client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("reading the archive of %s: %w", run, err)
		}
		places = append(places, Place{Name: "archived " + part + " of " + run, Content: text})
	}
	return places, nil
}
