//go:build e2e

package e2e

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/e2e/cloud"
	"github.com/plumbline-dev/plumbline/e2e/kit"
)

// TestDeletedInMidRun: the Run is ended gracefully first, and then everything it made is destroyed.
func TestDeletedInMidRun(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	w, run := started(t, s)
	if err := s.Delete(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	kit.Await(t, s, run, func(r *v1alpha1.Run) bool { return r.Status.Class == string(job.Canceled) })
	s.AwaitGone(t, w)
	if things := s.Things(t); len(things) > 0 {
		t.Errorf("left behind: %v", things)
	}
}

// TestOrphan: the infrastructure stays when that is what was asked for.
func TestOrphan(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	w := s.Workspace("app", map[string]string{"main.tf": s.Provider() + kit.Thing("x", "1")}, func(w *v1alpha1.Workspace) {
		w.Spec.DeletionPolicy = v1alpha1.DeletionOrphan
	})
	s.Create(t, w)
	s.AwaitReady(t, w)
	if err := s.Delete(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	s.AwaitGone(t, w)
	if s.Things(t)["x"] != "1" {
		t.Error("the infrastructure is gone")
	}
}

// TestForegroundDeletion, as Argo CD deletes, of several Workspaces whose history is collected meanwhile, and beside it
// the other two cascades: everything is destroyed once, and they all go.
func TestForegroundDeletion(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	cascades := []metav1.DeletionPropagation{
		metav1.DeletePropagationForeground, metav1.DeletePropagationForeground, metav1.DeletePropagationForeground,
		metav1.DeletePropagationForeground, metav1.DeletePropagationBackground, metav1.DeletePropagationOrphan,
	}
	var all []*v1alpha1.Workspace
	for i := range cascades {
		name := fmt.Sprintf("w%d", i)
		w := s.Workspace(name, map[string]string{"main.tf": s.Provider() + kit.Thing(name, "1")})
		s.Create(t, w)
		all = append(all, w)
	}
	for _, again := range []string{"1", "2"} {
		for _, w := range all {
			s.AwaitReady(t, w)
			s.Rerun(t, w, again)
		}
		for _, w := range all {
			kit.Await(t, s, w, func(w *v1alpha1.Workspace) bool { return kit.Ready(w) && w.Status.LastRerun == again })
		}
	}
	for i, w := range all {
		if err := s.Delete(t.Context(), w, client.PropagationPolicy(cascades[i])); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range all {
		s.AwaitGone(t, w)
	}
	if things, n := s.Things(t), s.Begun(t, cloud.Delete); len(things) > 0 || n != len(all) {
		t.Errorf("%d deletions were begun for %d Workspaces; left behind: %v", n, len(all), things)
	}
}

// TestDestroyFails: the Workspace stays until its infrastructure is gone, says why, and goes on by itself.
func TestDestroyFails(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	w := s.Workspace("app", map[string]string{"main.tf": s.Provider() + kit.Thing("x", "1")})
	s.Create(t, w)
	s.AwaitReady(t, w)
	s.Faults(t, cloud.Fault{Op: cloud.Delete, Kind: cloud.Fail, Message: broken, Times: 2})
	if err := s.Delete(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	s.AwaitRun(t, w, "a failed destruction", ended(job.ApplyFailed))
	s.AwaitGone(t, w)
	if things := s.Things(t); len(things) > 0 {
		t.Errorf("left behind: %v", things)
	}
}

// TestNeverApplied: a Workspace that never worked needs no Run to be deleted.
func TestNeverApplied(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	w := s.Workspace("app", map[string]string{"main.tf": "nonsense"})
	s.Create(t, w)
	s.AwaitReason(t, w, job.ConfigInvalid)
	if err := s.Delete(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	s.AwaitGone(t, w)
}

// TestSameNameAgain: a Workspace made anew under the same name starts with an empty state.
func TestSameNameAgain(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	for range 2 {
		w := s.Workspace("app", map[string]string{"main.tf": s.Provider() + kit.Thing("x", "1")})
		s.Create(t, w)
		s.AwaitReady(t, w)
		remove(t, s, w)
	}
	if n := s.Begun(t, cloud.Create); n != 2 {
		t.Errorf("the thing was created %d times, want once for each Workspace", n)
	}
}

// TestNamespaceDeleted at different moments: nothing wedges.
func TestNamespaceDeleted(t *testing.T) {
	t.Parallel()
	for name, arrange := range map[string]func(*testing.T, *kit.Space){
		"in mid-run": func(t *testing.T, s *kit.Space) { started(t, s) },
		"at rest": func(t *testing.T, s *kit.Space) {
			w := s.Workspace("app", halfway(s))
			s.Create(t, w)
			s.AwaitReady(t, w)
		},
		"stalled": func(t *testing.T, s *kit.Space) {
			w := s.Workspace("app", map[string]string{"main.tf": "nonsense"})
			s.Create(t, w)
			s.AwaitReason(t, w, job.ConfigInvalid)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := suite.NewSpace(t)
			arrange(t, s)
			n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.Name}}
			if err := s.Delete(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			s.AwaitGone(t, n)
		})
	}
}
