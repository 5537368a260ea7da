package server

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/plumbline-dev/plumbline/state/people"
)

// verbs are those that the API server authorizes by
// (https://kubernetes.io/docs/reference/access-authn-authz/authorization/).
var verbs = map[string]string{
	http.MethodGet: "get", http.MethodPut: "update", http.MethodPost: "create", http.MethodDelete: "delete",
}

// TestTheAPIServerPassesEachRouteOn: what the manifest grants everybody at the API server has each route for people in
// it. One that is missing is refused before the state service is asked.
func TestTheAPIServerPassesEachRouteOn(t *testing.T) {
	rules := grantedToEverybody(t)
	routes := slices.Concat(personRoutes, personArchiveRoutes, personUnsavedRoutes)
	for _, r := range keptRoutes {
		routes = append(routes, r.personRoute)
	}
	for _, r := range routes {
		method, path, _ := strings.Cut(r.pattern, " ")
		resource, named := resourceOf(path)
		verb := verbs[method]
		if verb == "get" && !named {
			verb = "list"
		}
		if !slices.ContainsFunc(rules, func(rule rbacv1.PolicyRule) bool {
			return slices.Contains(rule.APIGroups, people.Group) && slices.Contains(rule.Resources, resource) &&
				slices.Contains(rule.Verbs, verb)
		}) {
			t.Errorf("route %s: the API server asks for %s %s, which deploy/install.yaml does not grant", r.name, verb, resource)
		}
	}
}

// resourceOf is the resource and subresource of a path, as the API server's RequestInfo has them, and whether it names
// one object.
func resourceOf(path string) (resource string, named bool) {
	rest := strings.TrimPrefix(strings.TrimPrefix(path, people.Prefix+"/"), "namespaces/{namespace}/")
	parts := strings.Split(rest, "/")
	if len(parts) > 2 {
		return parts[0] + "/" + parts[2], true
	}
	return parts[0], len(parts) == 2
}

func grantedToEverybody(t *testing.T) []rbacv1.PolicyRule {
	t.Helper()
	manifest, err := os.Open("../../deploy/install.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = manifest.Close() }()
	documents := yaml.NewYAMLReader(bufio.NewReader(manifest))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			t.Fatal("deploy/install.yaml has no ClusterRole plumbline-people")
		}
		if err != nil {
			t.Fatal(err)
		}
		var role rbacv1.ClusterRole
		err = yaml.Unmarshal(document, &role)
		if err == nil && role.Kind == "ClusterRole" && role.Name == "plumbline-people" {
			return role.Rules
		}
	}
}
