//go:build integration

package cli

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/runner/aggregation"
	"github.com/plumbline-dev/plumbline/state"
)

// TestThroughTheAPIServer: the API server authenticates and passes on, RBAC decides, and the registration is there
// while somebody serves it. The state server has what deploy/install.yaml grants.
func TestThroughTheAPIServer(t *testing.T) {
	r := startReal(t)
	r.awaitAvailable()
	ws := &v1alpha1.Workspace{
		ObjectMeta: metav1.ObjectMeta{Name: "vpn"},
		Spec: v1alpha1.WorkspaceSpec{Source: v1alpha1.Source{
			Inline: &v1alpha1.InlineSource{Files: map[string]string{"main.tf": "# nothing"}},
		}},
	}
	run := &v1alpha1.Run{
		ObjectMeta: metav1.ObjectMeta{Name: "vpn-1"},
		Spec:       v1alpha1.RunSpec{WorkspaceName: "vpn", Operation: v1alpha1.OperationPlan, Attempt: 1},
	}
	run.Spec.Trigger.Kind = v1alpha1.TriggerManual
	r.create(ws, run)
	archive := state.RunID{UID: string(ws.UID), Run: run.Name, RunUID: string(run.UID)}
	chunk, err := job.Chunk{Text: []byte("said\n")}.Pack()
	if err := errors.Join(err, r.states.PutChunk(t.Context(), archive, state.NewChunk{Packed: chunk}),
		r.states.PutPart(t.Context(), archive, job.PartPlanText, []byte("the plan\n")),
		r.states.PutPart(t.Context(), archive, job.PartPlanJSON, []byte("{}"))); err != nil {
		t.Fatal(err)
	}
	r.grant("alice",
		rbacv1.PolicyRule{Resources: []string{"workspaces", "runs"}, Verbs: []string{"get", "list"}},
		rbacv1.PolicyRule{Resources: []string{"workspaces/state"}, Verbs: []string{"get", "update"},
			ResourceNames: []string{"vpn"}},
		rbacv1.PolicyRule{Resources: []string{"workspaces/lock"}, Verbs: []string{"get", "delete"}},
		rbacv1.PolicyRule{Resources: []string{"runs/log", "runs/plan"}, Verbs: []string{"get"}})
	r.grant("bob", rbacv1.PolicyRule{Resources: []string{"workspaces", "runs"}, Verbs: []string{"get", "list"}},
		rbacv1.PolicyRule{Resources: []string{"runs/plan"}, Verbs: []string{"get"}})

	t.Run("with rights", r.withRights)
	t.Run("without", r.withoutRights)
	t.Run("a lock", func(t *testing.T) { r.unlock(t, string(ws.UID)) })
	t.Run("registration", r.comesAndGoes)
}

func (r *fullAPI) withRights(t *testing.T) {
	as := func(stdin string, args ...string) result { return r.plumbline(stdin, append(args, "--as", "alice")...) }
	as("", "state", "show", "vpn").want(t, "has no state", "free")
	as(push1, "state", "push", "vpn", "-", "--why", "first").want(t, "version 1")
	as(push2, "state", "push", "vpn", "-", "--why", "second").want(t, "version 2")
	as(push1, "state", "push", "vpn", "-", "--why", "third").wantFailure(t, "--force")
	as("", "state", "rollback", "vpn", "1", "--why", "oops").want(t, "version 3 is the newest now, serial 3")
	as("", "state", "list", "vpn").want(t, "alice", "rollback to 1: oops", "pushed: second")
	as("", "state", "pull", "vpn").want(t, `"serial":3`)
	as("", "state", "pull", "vpn", "--version", "2").want(t, push2)
	as("", "logs", "vpn").want(t, "said\n")
	as("", "plan", "show", "vpn-1").want(t, "the plan\n")
	as("", "plan", "show", "vpn-1", "--json").want(t, "{}")
	as("", "logs", "vpn", "--list").want(t, "vpn-1")
	as("", "logs", "vpn", "--run", "vpn-1").want(t, "said\n")
	as("", "plan", "show", "vpn", "--run", "vpn-1").want(t, "the plan\n")
	large := `{"version":4,"serial":9,"lineage":"l","x":"` + strings.Repeat("x", 8<<20) + `"}`
	as(large, "state", "push", "vpn", "-", "--why", "large").want(t, "version 4")
	if got := as("", "state", "pull", "vpn"); got.out != large {
		t.Errorf("a large state: got %d bytes, %v; want %d", len(got.out), got.failed, len(large))
	}
}

func (r *fullAPI) withoutRights(t *testing.T) {
	for _, user := range []string{"bob", "system:anonymous"} {
		for _, args := range [][]string{
			{"state", "list", "vpn"}, {"state", "pull", "vpn"}, {"state", "pull", "vpn", "--version", "1"},
			{"state", "push", "vpn", "-", "--why", "w"}, {"state", "rollback", "vpn", "1", "--why", "w"},
			{"state", "unlock", "vpn", "--why", "w", "--yes"}, {"logs", "run/vpn-1"},
			{"plan", "show", "run/vpn-1", "--json"}, {"plan", "show", "vpn", "--run", "vpn-1", "--json"},
			{"logs", "vpn", "--list"}, {"logs", "vpn", "--run", "vpn-1"},
		} {
			got := r.plumbline(push1, append(args, "--as", user)...)
			if !apierrors.IsForbidden(got.failed) {
				t.Errorf("%s as %s: got %q, %v; want Forbidden", args, user, got.out, got.failed)
			}
		}
	}
	r.plumbline("", "plan", "show", "vpn-1", "--as", "bob").want(t, "the plan\n")
	// Of one Workspace only.
	got := r.plumbline("", "state", "pull", "other", "--as", "alice")
	if !apierrors.IsForbidden(got.failed) || !strings.Contains(Explain(got.failed), "workspaces/state") {
		t.Errorf("another Workspace: got %v", got.failed)
	}
	// The administrator may, and learns that there is none.
	if got := r.plumbline("", "state", "pull", "other"); !apierrors.IsNotFound(got.failed) || notServed(got.failed) {
		t.Errorf("as the administrator: got %v", got.failed)
	}
}

func (r *fullAPI) unlock(t *testing.T, uid string) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "vpn-1"}, Spec: corev1.PodSpec{
		Containers: []corev1.Container{{Name: "runner", Image: "runner"}},
	}}
	r.create(pod)
	by := state.Holder{Namespace: "default", Run: "vpn-1", Pod: "vpn-1", PodUID: string(pod.UID)}
	if err := r.states.Lock(t.Context(), uid, by, []byte(`{"ID":"7","Operation":"OperationTypeApply"}`)); err != nil {
		t.Fatal(err)
	}
	as := func(stdin string, args ...string) result { return r.plumbline(stdin, append(args, "--as", "alice")...) }
	as("", "state", "rollback", "vpn", "1", "--why", "w").wantFailure(t, "locked by run default/vpn-1", "state unlock")
	as("n\n", "state", "unlock", "vpn", "--why", "w").wantFailure(t, "left as it is")
	as("y\n", "state", "unlock", "vpn", "--why", "it is dead").want(t, "taken from run vpn-1 in pod vpn-1")
	as("", "state", "show", "vpn").want(t, "alice took it: it is dead")
}

// comesAndGoes: what nobody serves any more is taken away by a controller, and by a server that ends.
func (r *fullAPI) comesAndGoes(t *testing.T) {
	first, err := r.registration()
	if err != nil {
		t.Fatal(err)
	}
	keeper := func(clk clock.PassiveClock) {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			_ = (&aggregation.Keeper{Client: r.admin, Live: r.admin, Clock: clk, Log: logr.Discard()}).Start(ctx)
		}()
		t.Cleanup(cancel)
	}
	slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: service + "-1"}}
	if err := r.admin.Get(t.Context(), client.ObjectKeyFromObject(slice), slice); err != nil {
		t.Fatal(err)
	}
	if err := r.admin.Delete(t.Context(), slice); err != nil {
		t.Fatal(err)
	}
	r.await("the API server has noticed", func(context.Context) (bool, error) {
		u, err := r.registration()
		if err != nil {
			return false, err
		}
		text, err := u.MarshalJSON()
		return err == nil && !available(text), err
	})
	keeper(clocktesting.NewFakePassiveClock(time.Now().Add(time.Minute)))
	r.await("the registration is gone", func(context.Context) (bool, error) {
		_, err := r.registration()
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	})
	if got := r.plumbline("", "state", "list", "vpn"); got.failed == nil ||
		!strings.Contains(Explain(got.failed), "peopleAPI") {
		t.Errorf("without a server: got %v", got.failed)
	}

	slice.ResourceVersion, slice.UID = "", ""
	if err := r.admin.Create(t.Context(), slice); err != nil {
		t.Fatal(err)
	}
	r.await("it is registered again", func(context.Context) (bool, error) {
		u, err := r.registration()
		return err == nil && u.GetUID() != first.GetUID(), client.IgnoreNotFound(err)
	})
	r.stop()
	if _, err := r.registration(); !apierrors.IsNotFound(err) {
		t.Errorf("after the last server has ended: got %v, want no registration", err)
	}
}
