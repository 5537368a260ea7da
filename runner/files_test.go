package runner

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/internal/testkit"
)

// given is the Pod that is at work, what it is told, and the Secret that it is given.
func (w *world) given() (corev1.Pod, job.Params, *corev1.Secret) {
	w.t.Helper()
	w.settle()
	live := w.live()
	if len(live) != 1 {
		w.t.Fatalf("%d Pods are at work; Runs are %v", len(live), names(w.runs()))
	}
	params, err := job.ParseParams(live[0].Spec.Containers[0].Args[1])
	w.must(err)
	for _, v := range live[0].Spec.Volumes {
		var s corev1.Secret
		if v.Name == "job" && w.get(v.Secret.SecretName, &s) {
			return live[0], params, &s
		}
	}
	w.t.Fatalf("Pod %s has no Secret with files", live[0].Name)
	return corev1.Pod{}, job.Params{}, nil
}

// TestAPodIsToldWhatItsFilesAre: whoever writes the Secret anew can't say what runs.
func TestAPodIsToldWhatItsFilesAre(t *testing.T) {
	w := newWorld(t, vpn().FromSecret("psk", "vpn", "psk").Obj(), testkit.Secret("vpn", map[string]string{"psk": "x"}))
	p, params, s := w.given()
	want := job.DigestFiles(s.Data)
	if params.FilesDigest != want {
		t.Errorf("the Pod is told %s, and the Secret has %s", params.FilesDigest, want)
	}
	w.finish(p, job.Result{Class: job.Applied, Changes: &job.Changes{Add: 1}})
	w.drive("Ready", w.ready)
	if a := w.workspace().Status.Applied; a == nil || a.FilesDigest != want {
		t.Errorf("what was applied is %+v", a)
	}

	forged := s.DeepCopy()
	forged.ResourceVersion, forged.UID = "", ""
	forged.Data["main.tf"] = []byte(`data "external" "x" {}`)
	w.must(w.base.Delete(t.Context(), s))
	w.must(w.base.Create(t.Context(), forged))
	w.edit(func(o *v1alpha1.Workspace) { o.Annotations = map[string]string{v1alpha1.AnnotationRerun: "1"} })
	p, params, s = w.given()
	if s.Name != forged.Name || params.FilesDigest != want {
		t.Errorf("the Pod is given %s and told %s", s.Name, params.FilesDigest)
	}
	w.finish(p, job.Result{Class: job.NoChanges})

	// A destruction without its inputs uses the files of the last apply: those, and no others.
	w.must(w.base.Delete(t.Context(), testkit.Secret("vpn", nil)))
	w.must(w.base.Delete(t.Context(), w.workspace()))
	if _, params, _ = w.given(); params.Operation != job.Destroy || params.FilesDigest != want {
		t.Errorf("%s is told %s", params.Operation, params.FilesDigest)
	}
}

// TestAnotherRenderingReachesAnUnchangedWorkspace: with the next Run, and without one for its sake.
func TestAnotherRenderingReachesAnUnchangedWorkspace(t *testing.T) {
	w := newWorld(t, vpn().Obj())
	w.drive("Ready", w.ready)
	runs := len(w.runs())
	// As if an earlier release had rendered it: under a name without a digest, or with another one.
	for i := range w.runs() {
		r := w.runs()[i].DeepCopy()
		r.Status.FilesDigest = ""
		w.must(w.base.Status().Update(t.Context(), r))
	}
	o := w.workspace()
	o.Status.Applied.FilesDigest = "0123456789"
	w.must(w.base.Status().Update(t.Context(), o))
	w.settle()
	if got := len(w.runs()); got != runs {
		t.Fatalf("there are %d Runs, and were %d", got, runs)
	}
	w.edit(func(o *v1alpha1.Workspace) { o.Annotations = map[string]string{v1alpha1.AnnotationRerun: "1"} })
	if _, params, s := w.given(); job.DigestFiles(s.Data) != params.FilesDigest {
		t.Error("the Pod is given another Secret than it is told of")
	}
}
