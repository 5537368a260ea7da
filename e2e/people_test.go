//go:build e2e

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/e2e/kit"
)

// TestNamespacesGoWithoutTheStateService: with every state server gone the registration of the API for people goes too,
// so that a namespace that has nothing to do with Plumbline can be deleted; and it comes back. It harms what all share,
// so it is not parallel.
func TestNamespacesGoWithoutTheStateService(t *testing.T) {
	s := suite.NewSpace(t)
	person := s.Person(t, "anna")
	person.May(t, "get workspaces/state")
	w := s.Workspace("app", halfway(s))
	s.Create(t, w)
	s.AwaitReady(t, w)
	s.AwaitPeopleAPI(t)
	replicas := s.Scale(t, kit.StateDeployment, 0)
	t.Cleanup(func() { s.Scale(t, kit.StateDeployment, replicas) })
	other := suite.NewSpace(t)
	if err := other.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: other.Name}}); err != nil {
		t.Fatal(err)
	}
	other.AwaitGone(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: other.Name}})
	out, err := person.Plumbline(t, "state", "list", "app")
	if err == nil || !strings.Contains(err.Error(), "state service") {
		t.Errorf("without a state server: got %q, %v", out, err)
	}
	s.Scale(t, kit.StateDeployment, replicas)
	s.AwaitPeopleAPI(t)
	if out, err := person.Plumbline(t, "state", "list", "app"); err != nil {
		t.Errorf("with state servers again: got %q, %v", out, err)
	}
}

// TestPeople: what somebody may is what a Role says, whatever way they log in.
func TestPeople(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	w := s.Workspace("app", halfway(s))
	s.Create(t, w)
	s.AwaitReady(t, w)
	anna, bert := s.Person(t, "anna"), s.Person(t, "bert")
	anna.May(t, "get,list workspaces runs", "get,update workspaces/state", "get,delete workspaces/lock",
		"get runs/log runs/plan")
	bert.May(t, "get,list workspaces runs")
	s.AwaitPeopleAPI(t)

	for _, c := range []struct {
		args string
		says string
	}{
		{"state list app", "run app-"},
		{"state show app", "cloud_thing.second"},
		{"state pull app", `"lineage"`},
		{"state rollback app 1 --why it-was-better", "is the newest now"},
		{"state list app", "rollback to 1: it-was-better"},
		{"state unlock app --yes --why w", "nobody holds the lock"},
		{"logs app", "Apply complete"},
	} {
		out, err := anna.Plumbline(t, strings.Fields(c.args)...)
		if err != nil || !strings.Contains(out, c.says) {
			t.Errorf("plumbline %s: got %v, %q; want %q", c.args, err, out, c.says)
		}
		out, err = bert.Plumbline(t, strings.Fields(c.args)...)
		if err == nil || !strings.Contains(err.Error(), "needs the right") {
			t.Errorf("plumbline %s without rights: got %v, %q; want a refusal that says what is missing", c.args, err, out)
		}
	}
	path := "/apis/state.plumbline.dev/v1alpha1/namespaces/" + s.Name + "/workspaces/app/state/versions"
	user := "system:serviceaccount:" + s.Name + ":"
	out, err := s.Kubectl(t, "get", "--raw", path, "--as", user+"anna")
	if err != nil || !strings.Contains(out, "rollbackOf") {
		t.Errorf("kubectl get --raw as anna: got %q, %v", out, err)
	}
	if out, err := s.Kubectl(t, "get", "--raw", path, "--as", user+"bert"); err == nil {
		t.Errorf("kubectl get --raw as bert: got %q", out)
	}
}

// TestLogsOutliveThePod: one command shows a Run's log while its Pod runs, and when the Pod is gone.
func TestLogsOutliveThePod(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	anna := s.Person(t, "anna")
	anna.May(t, "get,list workspaces runs", "get runs/log pods/log")
	s.AwaitPeopleAPI(t)
	w, run := started(t, s)
	live := followed(t, anna.Command(t, "logs", "-f", "app"), "cloud_thing.second: Creating", func() { s.Faults(t) })
	s.AwaitReady(t, w)
	s.AwaitRun(t, w, "done", func(r *v1alpha1.Run) bool {
		return r.Name == run.Name && r.Status.Class == string(job.Applied)
	})
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: s.Name, Name: run.Status.PodName}}
	if err := s.Delete(t.Context(), pod); client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	s.AwaitGone(t, pod)
	archived, err := anna.Plumbline(t, "logs", run.Name)
	if err != nil || !strings.Contains(archived, "Apply complete") {
		t.Errorf("from the archive: got %v, %q", err, archived)
	}
	if live != archived {
		t.Errorf("what was followed differs from what was archived:\n%s\n---\n%s", live, archived)
	}
}

// followed is all that a command says until it ends; once it has said something, then is done.
func followed(t *testing.T, cmd *exec.Cmd, something string, then func()) string {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		fmt.Fprintln(&all, lines.Text())
		if then != nil && strings.Contains(lines.Text(), something) {
			then()
			then = nil
		}
	}
	if err := errors.Join(lines.Err(), cmd.Wait()); err != nil {
		t.Errorf("following: %v", err)
	}
	return all.String()
}
