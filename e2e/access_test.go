//go:build e2e

package e2e

import (
	"net/http"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/e2e/cloud"
	"github.com/plumbline-dev/plumbline/e2e/kit"
)

// TestStateIsPrivate: a Pod reaches the state of its own Workspace, for as long as its Run goes on, and nothing else.
func TestStateIsPrivate(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	w := s.Workspace("app", halfway(s))
	s.Create(t, w)
	s.AwaitReady(t, w)
	s.Faults(t, cloud.Fault{Op: cloud.Read, Kind: cloud.Hang})
	s.Rerun(t, w, "1")
	s.AwaitBegun(t, cloud.Read, 1)
	run := s.AwaitPod(t, w)
	other := s.Workspace("other", map[string]string{"main.tf": "output \"x\" { value = 1 }\n"})
	s.Create(t, other)
	s.AwaitReady(t, other)
	var pod, stranger corev1.Pod
	get := func(name string, p *corev1.Pod) {
		if err := s.Get(t.Context(), client.ObjectKey{Namespace: s.Name, Name: name}, p); err != nil {
			t.Fatal(err)
		}
	}
	get(run.Status.PodName, &pod)
	get(s.Runs(t, other)[0].Status.PodName, &stranger)
	elsewhere := suite.NewSpace(t)
	namesake := elsewhere.Workspace("app", map[string]string{"main.tf": "output \"x\" { value = 1 }\n"})
	elsewhere.Create(t, namesake)
	elsewhere.AwaitReady(t, namesake)
	var foreigner corev1.Pod
	name := elsewhere.Runs(t, namesake)[0].Status.PodName
	if err := s.Get(t.Context(), client.ObjectKey{Namespace: elsewhere.Name, Name: name}, &foreigner); err != nil {
		t.Fatal(err)
	}
	service := s.StateService(t)
	own, others := s.Name+"/app/", s.Name+"/other/"
	token := s.PodToken(t, &pod, kit.StateAudience)
	for name, c := range map[string]struct {
		method, path, token string
		want                int
	}{
		"own state":            {http.MethodGet, own + "state", token, 200},
		"another's state":      {http.MethodGet, others + "state", token, 403},
		"another's outputs":    {http.MethodGet, others + "outputs", token, 403},
		"another's lock":       {"LOCK", others + "state", token, 403},
		"another namespace":    {http.MethodGet, "default/app/state", token, 403},
		"removal":              {http.MethodDelete, s.Name + "/app?uid=" + string(w.UID), token, 403},
		"another Run":          {http.MethodPut, own + "runs/other/result", token, 403},
		"another namespace's":  {http.MethodGet, own + "state", elsewhere.PodToken(t, &foreigner, kit.StateAudience), 403},
		"an expired token":     {http.MethodGet, own + "state", s.ExpiredToken(t, &pod), 401},
		"no token":             {http.MethodGet, own + "state", "", 401},
		"nonsense":             {http.MethodGet, own + "state", "nonsense", 401},
		"another audience":     {http.MethodGet, own + "state", s.PodToken(t, &pod, "vault"), 401},
		"no Pod":               {http.MethodGet, own + "state", s.PodToken(t, nil, kit.StateAudience), 403},
		"a Run that is over":   {"LOCK", others + "state", s.PodToken(t, &stranger, kit.StateAudience), 403},
		"a write without lock": {http.MethodPost, own + "state?ID=guessed", token, 409},
	} {
		t.Run(name, func(t *testing.T) {
			body := `{"ID": "mine", "version": 4, "serial": 99}`
			got, text := service.Do(t, kit.Request{Method: c.method, Path: c.path, Token: c.token, Body: body})
			if got != c.want {
				t.Errorf("got %d, want %d: %s", got, c.want, text)
			}
		})
	}
	s.Faults(t)
	expectOnce(t, s, 2)
	kit.Await(t, s, run, func(r *v1alpha1.Run) bool { return r.Status.Class == string(job.NoChanges) })
}
