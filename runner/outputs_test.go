package runner

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/internal/testkit"
)

// says is the Workspace's condition; empty for nothing.
func (w *world) says(kind string) metav1.Condition {
	w.t.Helper()
	if c := apimeta.FindStatusCondition(w.workspace().Status.Conditions, kind); c != nil {
		return *c
	}
	return metav1.Condition{}
}

// refuse lets the API server refuse one kind of write.
func (w *world) refuse(write string, err error) {
	w.fault = func(_ *world, when, what string) error {
		if when == "before" && what == write {
			return err
		}
		return nil
	}
}

// passes are several, of which the last one tells how it went.
func (w *world) passes(n int) (err error) {
	for range n {
		err = w.pass()
	}
	return err
}

// TestOutputsThatAreRefused: the Workspace says it in the API server's words, the rest of the pass goes on, and it
// heals by itself.
func TestOutputsThatAreRefused(t *testing.T) {
	forbidden := func(why string) error {
		return apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "vpn-outputs", errors.New(why))
	}
	for _, test := range []struct {
		name   string
		err    error
		reason string
		words  string
	}{
		{"by a quota", forbidden("exceeded quota: few, used: count/secrets=1"), "QuotaExceeded", "exceeded quota: few"},
		{"by a policy", forbidden("no Secrets here"), "Refused", "no Secrets here"},
		{"for a key, a name or their size", apierrors.NewInvalid(schema.GroupKind{Kind: "Secret"}, "vpn-outputs", nil),
			"Refused", "is invalid"},
		{"by a webhook that is down", apierrors.NewInternalError(errors.New("failed calling webhook \"w\"")),
			"Refused", "failed calling webhook"},
	} {
		t.Run(test.name, func(t *testing.T) {
			outputsRefused(newWorld(t, vpn().History(1, 1).Obj()), test.err, test.reason, test.words)
		})
	}
}

// outputsRefused has the outputs of a first apply refused, and a rerun, and then nothing any more.
func outputsRefused(w *world, err error, reason, words string) {
	w.t.Helper()
	w.settle()
	first := w.runs()[0].Name
	w.refuse("create Secret", err)
	w.finish(w.live()[0], job.Result{Class: job.Applied})
	w.must(w.passes(3)) // each of which tries again
	w.expectRefused(reason, words)
	w.edit(func(o *v1alpha1.Workspace) { o.Annotations = map[string]string{v1alpha1.AnnotationRerun: "1"} })
	w.must(w.passes(3))
	if c := w.says(v1alpha1.ConditionReady); c.Reason != reason {
		w.t.Errorf("while a Run goes on Ready is %s, %s: %s", c.Status, c.Reason, c.Message)
	}
	w.finish(w.live()[0], job.Result{Class: job.NoChanges})
	w.must(w.passes(3))
	s := w.workspace().Status
	if w.get(first, &v1alpha1.Run{}) || s.LastRerun != "1" || s.OutputsSecretName != "" {
		w.t.Errorf("the rest of the pass did not go on: %v, %+v", names(w.runs()), s)
	}
	w.fault = nil
	w.settle()
	if !w.ready() || w.workspace().Status.OutputsSecretName != "vpn-outputs" {
		w.t.Errorf("it does not heal: %+v", w.workspace().Status)
	}
}

// expectRefused holds that the Workspace says of its outputs why they were refused.
func (w *world) expectRefused(reason, words string) {
	w.t.Helper()
	c, going := w.says(v1alpha1.ConditionReady), w.says(v1alpha1.ConditionReconciling)
	if c.Status != metav1.ConditionFalse || c.Reason != reason || !strings.Contains(c.Message, words) ||
		!strings.Contains(c.Message, "vpn-outputs") || going.Reason != reason {
		w.t.Errorf("Ready is %s, %s: %s; Reconciling: %s", c.Status, c.Reason, c.Message, going.Reason)
	}
}

// TestARunThatIsRefused: by a quota on objects, or a webhook.
func TestARunThatIsRefused(t *testing.T) {
	w := newWorld(t, vpn().Obj())
	w.refuse("create Run", forbidden("exceeded quota: runs"))
	if err := w.pass(); err == nil {
		t.Error("no error is returned: nothing would try again")
	}
	c := w.says(v1alpha1.ConditionReady)
	if c.Reason != "QuotaExceeded" || !strings.Contains(c.Message, "exceeded quota: runs") {
		t.Errorf("Ready is %s, %s: %s", c.Status, c.Reason, c.Message)
	}
	w.fault = nil
	lifecycle(w)
}

// TestNobodyIsReadyBeforeItsOutputsAreThere, and whose are there stays so while the state service is away.
func TestNobodyIsReadyBeforeItsOutputsAreThere(t *testing.T) {
	w := newWorld(t, vpn().Schedule("@hourly").Obj())
	w.settle()
	w.state.err = errors.New("connection refused")
	w.finish(w.live()[0], job.Result{Class: job.Applied, OutputsDigest: "as a driver of another release counts"})
	if err := w.passes(3); err == nil {
		t.Error("no error is returned: nothing would try again")
	}
	if c := w.says(v1alpha1.ConditionReady); c.Status == metav1.ConditionTrue || c.Reason != string(job.StateUnavailable) {
		t.Errorf("Ready is %s, %s: %s", c.Status, c.Reason, c.Message)
	}
	w.state.err = nil
	w.settle()
	if !w.ready() {
		t.Fatal("it does not heal")
	}
	w.state.err = errors.New("connection refused")
	w.settle() // without an error: nobody is asked
	var s corev1.Secret
	w.get("vpn-outputs", &s)
	w.must(w.base.Delete(t.Context(), &s))
	_ = w.pass()
	if c := w.says(v1alpha1.ConditionReady); c.Status != metav1.ConditionTrue {
		t.Errorf("with the state service away Ready is %s, %s: %s", c.Status, c.Reason, c.Message)
	}
	w.clock.Step(time.Hour)
	_ = w.pass()
	if len(w.live()) != 1 {
		t.Error("drift checks wait for the outputs")
	}
	w.state.err = nil
	w.drive("the outputs", func() bool { return w.get("vpn-outputs", &s) && w.ready() })
}

// TestOutputsOfAnyName stand in the Secret, under a name that a key may have.
func TestOutputsOfAnyName(t *testing.T) {
	w := newWorld(t, vpn().Obj())
	w.state.outputs = map[string]job.Output{"a\u00f1o": {Value: []byte("1999")}, "port": {Value: []byte("8080")}}
	w.drive("Ready", w.ready)
	var s corev1.Secret
	w.get("vpn-outputs", &s)
	want := map[string][]byte{"a.c3.b1o": []byte("1999"), "port": []byte("8080")}
	if diff := cmp.Diff(want, s.Data); diff != "" {
		t.Error(diff)
	}
}

// TestTheOutputsSecretHasTheNameThatIsDocumented, as long as a Secret's may be.
func TestTheOutputsSecretHasTheNameThatIsDocumented(t *testing.T) {
	long := strings.Repeat("a", 200)
	w := newWorld(t, testkit.Workspace(long).Obj())
	w.key.Name = long
	w.drive("Ready", w.ready)
	if name := w.workspace().Status.OutputsSecretName; name != long+"-outputs" || !w.get(name, &corev1.Secret{}) {
		t.Errorf("the outputs are in %q", name)
	}
}
