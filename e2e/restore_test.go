//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/e2e/cloud"
	"github.com/plumbline-dev/plumbline/e2e/kit"
)

// TestRestoreOfANamespace: a namespace is lost with all its Workspaces and comes back from a backup. No Workspace has
// the UID that it had, so none finds its state, and none of them makes anything a second time: each says so, and goes
// on with its state once somebody has said which one.
func TestRestoreOfANamespace(t *testing.T) {
	t.Parallel()
	const workspaces = 3
	s := suite.NewSpace(t)
	var lost, restored []*v1alpha1.Workspace
	for i := range workspaces {
		name := fmt.Sprintf("w%d", i)
		w := s.Workspace(name, map[string]string{"main.tf": s.Provider() + kit.Thing(name, "1")})
		lost, restored = append(lost, w), append(restored, w.DeepCopy())
		s.Create(t, w)
	}
	for _, w := range lost {
		s.AwaitReady(t, w)
	}
	loseNamespace(t, s)
	for i, w := range restored {
		s.Create(t, w)
		said := s.AwaitReason(t, w, job.StateMissing)
		for _, part := range []string{string(lost[i].UID), v1alpha1.AnnotationAdoptState} {
			if !strings.Contains(said, part) {
				t.Errorf("%s says %q, want it to name %s", w.Name, said, part)
			}
		}
	}
	wantMade(t, s, workspaces)
	// One by annotation, and the others at once.
	s.Change(t, restored[0], func() {
		metav1.SetMetaDataAnnotation(&restored[0].ObjectMeta, v1alpha1.AnnotationAdoptState, string(lost[0].UID))
	})
	s.AwaitReady(t, restored[0])
	adoptAll(t, s, lost)
	for _, w := range restored {
		s.AwaitReady(t, w)
	}
	wantMade(t, s, workspaces)
	for _, w := range restored {
		if err := s.Delete(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range restored {
		s.AwaitGone(t, w)
	}
	if things := s.Things(t); len(things) > 0 {
		t.Errorf("left behind: %v", things)
	}
}

// wantMade checks how many things were ever made.
func wantMade(t *testing.T, s *kit.Space, want int) {
	t.Helper()
	if made := s.Begun(t, cloud.Create); made != want {
		t.Errorf("%d things were made, want %d", made, want)
	}
}

// loseNamespace deletes the namespace with all that is in it, and makes an empty one of its name.
func loseNamespace(t *testing.T, s *kit.Space) {
	t.Helper()
	n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.Name}}
	if err := s.Get(t.Context(), client.ObjectKeyFromObject(n), n); err != nil {
		t.Fatal(err)
	}
	again := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: n.Name, Labels: n.Labels}}
	if err := s.Delete(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	s.AwaitGone(t, n)
	if err := s.WithWatch.Create(t.Context(), again); err != nil {
		t.Fatal(err)
	}
}

// adoptAll takes over, as a person, what no Workspace has taken over yet; the first has.
func adoptAll(t *testing.T, s *kit.Space, lost []*v1alpha1.Workspace) {
	t.Helper()
	anna := s.Person(t, "anna")
	anna.May(t, "get,list,patch workspaces", "get,list runs", "get,update workspaces/state")
	s.AwaitPeopleAPI(t)
	orphans, err := anna.Plumbline(t, "state", "orphans")
	if err != nil || !strings.Contains(orphans, string(lost[1].UID)) || strings.Contains(orphans, string(lost[0].UID)) {
		t.Errorf("orphans: %v, %q; want those that were not taken over", err, orphans)
	}
	if out, err := anna.Plumbline(t, "state", "adopt", "--all-in-namespace", "--why", "restored"); err != nil {
		t.Errorf("adopting all: %v, %q", err, out)
	}
}

// TestStateThatIsRefused: while a Run applies, a person takes its lock and pushes another state, so that what it has to
// save is refused for good. It is kept with the Workspace, nothing is applied again, and once the person has made it
// the newest the Workspace goes on.
func TestStateThatIsRefused(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	anna := s.Person(t, "anna")
	anna.May(t, "get,list workspaces runs", "get,update workspaces/state", "get,delete workspaces/lock")
	s.AwaitPeopleAPI(t)
	state := func(args ...string) string {
		t.Helper()
		out, err := anna.Plumbline(t, append([]string{"state"}, args...)...)
		if err != nil {
			t.Fatalf("plumbline state %s: %v", strings.Join(args, " "), err)
		}
		return out
	}
	other := filepath.Join(t.TempDir(), "other.tfstate")
	const elsewhere = `{"version":4,"terraform_version":"1.11.4","serial":9,"lineage":"another","outputs":{},` +
		`"resources":[]}`
	if err := os.WriteFile(other, []byte(elsewhere), 0o600); err != nil {
		t.Fatal(err)
	}
	w, _ := started(t, s)
	state("unlock", "app", "--yes", "--why", "by-mistake")
	state("push", "app", other, "--why", "by-mistake")
	s.Faults(t)
	s.AwaitReason(t, w, job.StateUnsaved)
	s.Rerun(t, w, "1")
	s.AwaitRun(t, w, "one that applies nothing", func(r *v1alpha1.Run) bool {
		return r.Spec.Trigger.Kind == v1alpha1.TriggerRerun && r.Status.Class == string(job.StateUnsaved)
	})
	expectOnce(t, s, 2)
	listed := strings.Fields(state("unsaved", "app"))
	id := listed[slices.Index(listed, "WHY")+1]
	state("unsaved", "app", "--id", id, "-o", other)
	state("push", "app", other, "--force", "--why", "it-is-what-there-is")
	state("unsaved", "app", "--discard", id, "--why", "it-is-the-newest-now")
	s.Rerun(t, w, "2")
	s.AwaitReady(t, w)
	expectOnce(t, s, 2)
	remove(t, s, w)
}

// TestTwoReleases: somebody installs the chart a second time. Its controller works on no Workspace of the first and
// says so, and the first goes on as ever.
func TestTwoReleases(t *testing.T) {
	s := suite.NewSpace(t)
	w := s.Workspace("app", map[string]string{"main.tf": s.Provider() + kit.Thing("x", "1")})
	s.Create(t, w)
	s.AwaitReady(t, w)
	s.SecondRelease(t)
	s.Rerun(t, w, "1")
	s.AwaitRun(t, w, "the first release's", func(r *v1alpha1.Run) bool {
		return r.Spec.Trigger.Kind == v1alpha1.TriggerRerun && r.Status.Class == string(job.NoChanges)
	})
	s.AwaitAny(t, &eventsv1.EventList{}, "the second release stands back", func(o client.Object) bool {
		e, ok := o.(*eventsv1.Event)
		return ok && e.Regarding.Name == w.Name && e.Reason == "OtherInstallation"
	})
	s.Drift(t, "x", "2")
	s.Rerun(t, w, "2")
	kit.Await(t, s, w, func(w *v1alpha1.Workspace) bool { return kit.Ready(w) && w.Status.LastRerun == "2" })
	if n := s.Begun(t, cloud.Create); n != 1 {
		t.Errorf("%d things were made, want 1", n)
	}
	if runs := s.Runs(t, w); len(runs) != 3 {
		t.Errorf("there are %d Runs, want one for the change and two reruns", len(runs))
	}
	remove(t, s, w)
}

// TestAnotherStore: somebody changes the store's address. The new server finds a store that its key ring does not know
// and refuses to start, and those that serve the right one serve on.
func TestAnotherStore(t *testing.T) {
	s := suite.NewSpace(t)
	w := s.Workspace("app", map[string]string{"main.tf": s.Provider() + kit.Thing("x", "1")})
	s.Create(t, w)
	s.AwaitReady(t, w)
	why, back := s.AnotherStore(t)
	if !strings.Contains(why, "store") || !strings.Contains(why, "--adopt-store") {
		t.Errorf("it ended with %q, want which store it knows and how to adopt another", why)
	}
	s.Rerun(t, w, "1")
	s.AwaitRun(t, w, "served by the others", func(r *v1alpha1.Run) bool {
		return r.Spec.Trigger.Kind == v1alpha1.TriggerRerun && r.Status.Class == string(job.NoChanges)
	})
	back()
	s.AwaitComponent(t, kit.StateDeployment)
	if n := s.Begun(t, cloud.Create); n != 1 {
		t.Errorf("%d things were made, want 1", n)
	}
	remove(t, s, w)
}
