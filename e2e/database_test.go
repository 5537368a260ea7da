//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/e2e/cloud"
	"github.com/plumbline-dev/plumbline/e2e/kit"
)

// inDatabase keeps the state in PostgreSQL, in a schema of the Space's, as whoever the environment says. All of them
// act as one group, which owns what they make.
func inDatabase(s *kit.Space, v *kit.Vault) func(*v1alpha1.Workspace) {
	return func(w *v1alpha1.Workspace) {
		w.Spec.Backend = &v1alpha1.Backend{Type: "pg", Config: map[string]apiextensionsv1.JSON{
			"conn_str": quoted(fmt.Sprintf("postgres://%s/states?sslmode=disable&role=%s", v.DatabaseHost, kit.DatabaseGroup)),
			// Terraform makes the schema by this name, unquoted in places.
			"schema_name": quoted(s.Name),
		}}
	}
}

func quoted(text string) apiextensionsv1.JSON {
	raw, _ := json.Marshal(text) // strings always marshal
	return apiextensionsv1.JSON{Raw: raw}
}

// whoIAm tells which user the Run was given; the secret half of it reaches the backend and the provider alone.
const whoIAm = `variable "username" { type = string }
output "user" { value = var.username }
`

// TestUsersOfADatabase: a static role that is rotated between two Runs, and a user that is a new one for each Run. Both
// work for the provider, which hangs with any token but the present one, and for the backend that keeps the state.
func TestUsersOfADatabase(t *testing.T) {
	t.Parallel()
	v := suite.Vault(t)
	t.Run("a static role that is rotated", func(t *testing.T) {
		t.Parallel()
		s := suite.NewSpace(t)
		s.Faults(t, cloud.Fault{Op: cloud.Configure, Kind: cloud.HangExpired})
		first := v.StaticPassword(t)
		s.IssueToken(t, first, time.Hour)
		w := lifeInDatabase(t, s, kit.StaticUser, map[string]string{"CLOUD_TOKEN": "password"})
		v.Rotate(t)
		second := v.StaticPassword(t)
		if first == second {
			t.Fatal("the password was not rotated: this test shows nothing")
		}
		s.IssueToken(t, first, 0)
		s.IssueToken(t, second, time.Hour)
		again(t, s, w)
		remove(t, s, w)
	})
	t.Run("a new user for each Run", func(t *testing.T) {
		t.Parallel()
		s := suite.NewSpace(t)
		users := v.Grant(t, s, 5*time.Minute, time.Hour)
		w := lifeInDatabase(t, s, users, nil)
		first := string(outputsOf(t, s, "app-outputs")["user"])
		if first == "" {
			t.Fatal("the first Run's output has no user: this test shows nothing")
		}
		again(t, s, w)
		outputs := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.Name, Name: "app-outputs"}}
		kit.Await(t, s, outputs, func(o *corev1.Secret) bool { return string(o.Data["user"]) != first })
		v.AwaitLeases(t, s, users, 0) // with the users that the state was written by
		remove(t, s, w)
		v.AwaitLeases(t, s, users, 0)
	})
}

// lifeInDatabase applies a Workspace that has its user from a path of Vault's, for the state and for more of the
// environment.
func lifeInDatabase(t *testing.T, s *kit.Space, path string, more map[string]string) *v1alpha1.Workspace {
	t.Helper()
	v := suite.Vault(t)
	env := map[string]string{"PGUSER": "username", "PGPASSWORD": "password"}
	maps.Copy(env, more)
	w := s.Workspace("app", map[string]string{"main.tf": s.Provider() + kit.Thing("x", "1") + whoIAm},
		s.VaultClass(t, v), inDatabase(s, v), withCredentials(
			fromVault("database", path, asEnv(env), asVariables(map[string]string{"username": "username"}))))
	s.Create(t, w)
	s.AwaitReady(t, w)
	return w
}

// again asks for a Run, which must end well at once: it finds the state that the one before has left.
func again(t *testing.T, s *kit.Space, w *v1alpha1.Workspace) {
	t.Helper()
	s.Rerun(t, w, "again")
	r := s.AwaitRun(t, w, "the rerun", func(r *v1alpha1.Run) bool {
		return r.Spec.Trigger.Kind == v1alpha1.TriggerRerun && r.Status.FinishedAt != nil
	})
	if !job.Class(r.Status.Class).Succeeded() || r.Status.Changes.Add != 0 {
		t.Errorf("the rerun ended as %s with %s: %s", r.Status.Class, r.Status.Changes.Summary, r.Status.Message)
	}
	s.AwaitReady(t, w)
}
