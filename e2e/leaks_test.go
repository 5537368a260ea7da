//go:build e2e

package e2e

import (
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/e2e/cloud"
	"github.com/plumbline-dev/plumbline/e2e/kit"
)

// spoken is a configuration that does its best to show what it was given: in an error of the provider, in a warning,
// and in the names of things.
const spoken = databaseUser + `variable "note" {
  type      = string
  sensitive = true
}
check "loud" {
  assert {
    condition     = length(var.note) > 1000
    error_message = "the note is ${nonsensitive(var.note)}, in base64 ${base64encode(nonsensitive(var.password))}"
  }
}
`

// TestNoSecretIsKept: every secret value that Vault has issued until now, in this test and in those before it, is
// looked for in all of etcd (objects, events, sealed states and archives), in all logs and in what is archived.
func TestNoSecretIsKept(t *testing.T) {
	v, s := suite.Vault(t), suite.NewSpace(t)
	users, note := v.Grant(t, s, 5*time.Minute, time.Hour), v.Keep(t, s, "a note that nobody else shall read")
	s.Faults(t, cloud.Fault{Op: cloud.Create, Kind: cloud.Fail, Message: "it will not do", Times: 1})
	w := s.Workspace("app", map[string]string{"main.tf": s.Provider() + kit.Thing("x", "1") + spoken},
		s.VaultClass(t, v), withCredentials(
			fromVault("database", users, userAndPassword, asEnv(map[string]string{"PGPASSWORD": "password"})),
			fromVault("note", note, asVariables(map[string]string{"note": "value"}))))
	s.Create(t, w)
	s.AwaitReady(t, w)
	plan := &v1alpha1.Run{Spec: v1alpha1.RunSpec{WorkspaceName: w.Name, Operation: v1alpha1.OperationPlan}}
	plan.Name = "plan"
	s.Faults(t)
	s.Drift(t, "x", "bent")
	s.Create(t, plan)
	s.AwaitRun(t, w, "the plan", ended(job.Planned))
	issued := v.Issued(t)
	if len(issued) < 4 {
		t.Fatalf("only %d values were issued: this test looks for nothing", len(issued))
	}
	places := append(s.Etcd(t), s.Logs(t, s.Name)...)
	places = append(places, s.Logs(t, kit.System)...)
	for _, r := range s.Runs(t, w) {
		archived, err := s.Archive(t.Context(), s.Name, r.Name)
		if err != nil {
			t.Fatal(err)
		}
		places = append(places, archived...)
	}
	t.Logf("%d issued values, %d places", len(issued), len(places))
	for _, leak := range kit.Leaks(places, issued) {
		t.Error(leak)
	}
	// What is looked for can be found: the test itself would else show nothing.
	known := kit.Place{Name: "here", Content: []byte("a " + issued[0])}
	if len(kit.Leaks([]kit.Place{known}, issued)) != 1 {
		t.Error("a value that is there was not found")
	}
}
