package server

import (
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/state/people"
)

// resources are what people may ask of Workspaces and Runs. None stands by itself: there is nothing to list, watch or
// delete for kubectl or for the controllers that empty namespaces and collect garbage.
var resources = []metav1.APIResource{
	{Name: "runs/log", Namespaced: true, Kind: "RunLog", Verbs: metav1.Verbs{"get"}},
	{Name: "runs/plan", Namespaced: true, Kind: "RunPlan", Verbs: metav1.Verbs{"get"}},
	{Name: "runs/plan.json", Namespaced: true, Kind: "RunPlan", Verbs: metav1.Verbs{"get"}},
	{Name: "runs/plan.txt", Namespaced: true, Kind: "RunPlan", Verbs: metav1.Verbs{"get"}},
	{Name: "workspaces/lock", Namespaced: true, Kind: "WorkspaceLock", Verbs: metav1.Verbs{"delete", "get"}},
	{Name: "workspaces/runs", Namespaced: true, Kind: "ArchivedRuns", Verbs: metav1.Verbs{"get"}},
	{Name: "workspaces/state", Namespaced: true, Kind: "WorkspaceState", Verbs: metav1.Verbs{"create", "get", "update"}},
}

// handleDiscovery tells what there is, to anybody: the API server looks here whether the service is alive, and while it
// thinks that it isn't no namespace of the cluster can be deleted.
func handleDiscovery(mux *http.ServeMux) {
	version := metav1.GroupVersionForDiscovery{GroupVersion: people.Group + "/" + people.Version, Version: people.Version}
	group := metav1.APIGroup{
		Name: people.Group, Versions: []metav1.GroupVersionForDiscovery{version}, PreferredVersion: version,
	}
	kind := func(k string) metav1.TypeMeta { return metav1.TypeMeta{Kind: k, APIVersion: "v1"} }
	list := metav1.APIGroupList{TypeMeta: kind("APIGroupList"), Groups: []metav1.APIGroup{group}}
	group.TypeMeta = kind("APIGroup")
	for path, document := range map[string]any{
		"/apis":                 list,
		"/apis/" + people.Group: group,
		people.Prefix: metav1.APIResourceList{
			TypeMeta: kind("APIResourceList"), GroupVersion: version.GroupVersion, APIResources: resources,
		},
	} {
		a, err := answerJSON(document)
		if err != nil {
			a = refusePerson(err)
		}
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { _, _ = writeAnswer(w, a) })
	}
	// The API server asks for OpenAPI too, and does without it.
	for _, path := range []string{"/apis/", "/openapi/"} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = writeAnswer(w, answerStatus(http.StatusNotFound,
				refusal{Error: "the server has no such path or method"}))
		})
	}
}
