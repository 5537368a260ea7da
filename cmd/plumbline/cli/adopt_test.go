package cli

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/state"
)

const tf3 = `{"version":4,"serial":3,"lineage":"l","outputs":{},"resources":[{"mode":"managed","instances":[{}]}]}`

// keep leaves a state as the last Run of a Workspace that is gone.
func keep(t *testing.T, s *state.Service, uid, name string) {
	t.Helper()
	h := state.Holder{Namespace: "ns", Run: "old", Pod: "old", PodUID: "old"}
	if err := s.Lock(t.Context(), uid, h, []byte(`{"ID":"1"}`)); err != nil {
		t.Fatal(err)
	}
	if err := s.Claim(t.Context(), state.Owner{UID: uid, Namespace: "ns", Name: name}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(t.Context(), uid, state.Claim{Holder: h, LockID: "1"}, []byte(tf3)); err != nil {
		t.Fatal(err)
	}
	if err := s.Unlock(t.Context(), uid, h, []byte(`{"ID":"1"}`)); err != nil {
		t.Fatal(err)
	}
}

func TestAStateIsTakenOver(t *testing.T) {
	a, service := proxied(t)
	as := func(user string, args ...string) result { return a.plumbline(t, "", append(args, "--as", user)...) }
	if got := as("alice", "state", "orphans"); got.failed != nil || !strings.Contains(got.err, "Each state has") {
		t.Errorf("nothing: %+v", got)
	}
	keep(t, service, "former", "ws")
	as("alice", "state", "orphans").want(t, "RESOURCES", "former", "ns", "ws")
	as("alice", "state", "orphans", "-A").want(t, "former")
	as("alice", "state", "pull", "--uid", "former").want(t, tf3)
	as("alice", "state", "list", "--uid", "former").want(t, "run old")
	as("bob", "state", "orphans").wantFailure(t, "bob")
	as("alice", "state", "adopt", "ws").wantFailure(t, "--from UID")
	as("alice", "state", "adopt", "ws", "--from", "x", "--all-in-namespace").wantFailure(t, "--from UID")
	as("alice", "state", "adopt", "ws", "--from", "x").wantFailure(t, "nothing is kept for UID x")
	as("alice", "state", "pull", "ws", "--uid", "former").wantFailure(t, "unknown command")
	a.says("PATCH "+objects+"workspaces/ws", "{}")
	as("alice", "state", "adopt", "ws", "--from", "former", "--why", "restored").
		want(t, "ws goes on with the state of UID former, serial 3")
	as("alice", "state", "list", "ws").want(t, "taken over from UID former: restored")
	if !slices.ContainsFunc(a.asked, func(line string) bool {
		return strings.HasPrefix(line, "PATCH") && strings.Contains(line, `{"plumbline.dev/adopt-state":"former"}`)
	}) {
		t.Errorf("the controller isn't told to go on: %q", a.asked)
	}
}

func TestAllOfANamespaceIsTakenOver(t *testing.T) {
	a, service := proxied(t)
	missing := func(name string) v1alpha1.Workspace {
		w := v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}}
		w.Status.Conditions = []metav1.Condition{{Type: "Ready", Status: "False", Reason: "StateMissing"}}
		return w
	}
	fine := missing("fine")
	fine.Status.Conditions[0].Reason = "Applied"
	a.says("GET "+objects+"workspaces", v1alpha1.WorkspaceList{Items: []v1alpha1.Workspace{
		missing("ws"), missing("lost"), missing("twice"), fine,
	}})
	a.says("PATCH "+objects+"workspaces/ws", "{}")
	keep(t, service, "former", "ws")
	keep(t, service, "f1", "twice")
	if err := service.Register(t.Context(), state.Owner{UID: "f2", Namespace: "ns", Name: "twice"}); err != nil {
		t.Fatal(err)
	}
	keep(t, service, "f2", "twice")
	keep(t, service, "f3", "fine")
	got := a.plumbline(t, "", "state", "adopt", "--all-in-namespace", "--as", "alice")
	got.wantFailure(t, "2 Workspaces are left")
	for _, says := range []string{"lost: there are 0 states", "twice: there are 2 states"} {
		if !strings.Contains(got.err, says) {
			t.Errorf("it does not say %q: %s", says, got.err)
		}
	}
	if !strings.Contains(got.out, "ws goes on with the state of UID former") || strings.Contains(got.out, "f3") {
		t.Errorf("out: %s", got.out)
	}
}
