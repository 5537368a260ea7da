//go:build integration

package runner

import (
	"context"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/internal/testkit"
)

func isReady(w *v1alpha1.Workspace) bool {
	return w != nil && w.Status.ObservedGeneration == w.Generation &&
		apimeta.IsStatusConditionTrue(w.Status.Conditions, v1alpha1.ConditionReady)
}

func isStalled(w *v1alpha1.Workspace) bool {
	return apimeta.IsStatusConditionTrue(w.Status.Conditions, v1alpha1.ConditionStalled)
}

func isGone(w *v1alpha1.Workspace) bool { return w == nil }

// saying tells whether Ready has the reason.
func saying(reason string) func(*v1alpha1.Workspace) bool {
	return func(w *v1alpha1.Workspace) bool {
		c := apimeta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionReady)
		return c != nil && c.Reason == reason
	}
}

// hang lets Pods run on.
func hang(*v1alpha1.Run) *job.Result { return nil }

func TestChangesOfSpecConfigMapAndSecretStartRuns(t *testing.T) {
	c := newCluster(t)
	c.manage(Options{})
	c.make(testkit.ConfigMap("net", map[string]string{"cidr": "10.0.0.0/8"}))
	c.make(testkit.Secret("vpn", map[string]string{"psk": "one"}))
	w := c.create(vpn().FromConfigMap("cidr", "net", "cidr").FromSecret("psk", "vpn", "psk").History(20, 20))
	c.await(w, "the first apply", isReady)

	changes := func(n int) func(*v1alpha1.Workspace) bool {
		return func(w *v1alpha1.Workspace) bool {
			runs := c.runs(w, v1alpha1.TriggerChange)
			going := slices.ContainsFunc(runs, func(r v1alpha1.Run) bool { return r.Status.FinishedAt == nil })
			return len(runs) == n && !going && isReady(w)
		}
	}
	for n, change := range []func(){
		func() {
			c.edit(w, func(w *v1alpha1.Workspace) { w.Spec.Source.Inline.Files["main.tf"] = "# something" })
		},
		func() {
			c.update(&corev1.ConfigMap{}, "net", func(o client.Object) { o.(*corev1.ConfigMap).Data["cidr"] = "10.1.0.0/16" })
		},
		func() {
			c.update(&corev1.Secret{}, "vpn", func(o client.Object) { o.(*corev1.Secret).Data["psk"] = []byte("two") })
		},
	} {
		change()
		c.await(w, "the change's apply", changes(n+2))
	}
	// What is no input starts nothing; a rerun behind it shows that it was seen.
	c.edit(w, func(w *v1alpha1.Workspace) { w.Spec.History = &v1alpha1.History{Succeeded: new(int32(9))} })
	c.edit(w, func(w *v1alpha1.Workspace) { w.Annotations = map[string]string{v1alpha1.AnnotationRerun: "1"} })
	c.await(w, "the rerun", func(w *v1alpha1.Workspace) bool { return w.Status.LastRerun == "1" && isReady(w) })
	if n := len(c.runs(w, v1alpha1.TriggerChange)); n > 4 {
		t.Errorf("%d changes started Runs, of 4", n)
	}
	var s corev1.Secret
	c.must(c.client.Get(t.Context(), types.NamespacedName{Namespace: c.namespace, Name: "vpn-outputs"}, &s))
	if string(s.Data["ip"]) != "10.0.0.1" {
		t.Errorf("the outputs are %q", s.Data)
	}
}

// update changes an object as a person would.
func (c *cluster) update(o client.Object, name string, change func(client.Object)) {
	c.t.Helper()
	c.must(c.client.Get(c.t.Context(), types.NamespacedName{Namespace: c.namespace, Name: name}, o))
	change(o)
	c.must(c.client.Update(c.t.Context(), o))
}

func TestAScheduleStartsRunsAndHistoryIsPruned(t *testing.T) {
	c := newCluster(t)
	c.manage(Options{})
	w := c.create(vpn().Schedule("@every 1s").History(2, 1))
	var first time.Time
	c.await(w, "a tick", func(w *v1alpha1.Workspace) bool {
		if w.Status.LastScheduleTime == nil {
			return false
		}
		first = w.Status.LastScheduleTime.Time
		return true
	})
	c.await(w, "six ticks more, and two Runs of them kept", func(w *v1alpha1.Workspace) bool {
		later := w.Status.LastScheduleTime.Sub(first) >= 6*time.Second
		return later && len(c.runs(w, v1alpha1.TriggerSchedule, v1alpha1.TriggerChange)) <= 3 && w.Status.NextRunTime != nil
	})
	c.edit(w, func(w *v1alpha1.Workspace) { w.Spec.Drift = nil })
	c.await(w, "no next Run", func(w *v1alpha1.Workspace) bool { return w.Status.NextRunTime == nil && isReady(w) })
}

func TestAFailureIsRetriedAndThenStalls(t *testing.T) {
	c := newCluster(t)
	c.ending(func(*v1alpha1.Run) *job.Result {
		return &job.Result{Class: job.Transient, Message: "please retry again"}
	})
	c.manage(Options{})
	w := c.create(vpn().With(func(w *v1alpha1.Workspace) {
		second := &metav1.Duration{Duration: time.Second}
		w.Spec.Retry = &v1alpha1.Retry{Limit: new(int32(2)), MinDelay: second, MaxDelay: second}
	}))
	c.await(w, "the end of all retries", isStalled)
	retries := c.runs(w, v1alpha1.TriggerRetry)
	if len(retries) != 2 || len(c.runs(w, v1alpha1.TriggerChange)) != 1 {
		t.Errorf("there are %d retries", len(retries))
	}
	c.ending(applied)
	c.edit(w, func(w *v1alpha1.Workspace) { w.Annotations = map[string]string{v1alpha1.AnnotationRerun: "1"} })
	c.await(w, "the rerun's success", func(w *v1alpha1.Workspace) bool { return isReady(w) && w.Status.Failures == 0 })
}

func TestDeletionDestroys(t *testing.T) {
	c := newCluster(t)
	c.manage(Options{})
	w := c.create(vpn())
	c.await(w, "the first apply", isReady)
	c.ending(hang)
	c.edit(w, func(w *v1alpha1.Workspace) { w.Annotations = map[string]string{v1alpha1.AnnotationRerun: "1"} })
	c.await(w, "a Run that goes on", func(w *v1alpha1.Workspace) bool {
		r := c.runs(w, v1alpha1.TriggerRerun)
		return len(r) == 1 && r[0].Status.StartedAt != nil
	})
	c.must(c.client.Delete(t.Context(), w.DeepCopy()))
	c.await(w, "the Run to be canceled", func(w *v1alpha1.Workspace) bool {
		r := c.runs(w, v1alpha1.TriggerRerun)
		return r[0].Spec.Cancel && r[0].Status.Class == string(job.Canceled)
	})
	c.ending(applied)
	c.await(w, "its end", isGone)
	if c.holds(w) || len(c.runs(w, v1alpha1.TriggerDeletion)) != 1 {
		t.Errorf("it is gone, and its infrastructure is there: %v", c.holds(w))
	}
}

func TestDeletionOrphans(t *testing.T) {
	c := newCluster(t)
	c.manage(Options{})
	w := c.create(vpn().Orphan())
	c.await(w, "the first apply", isReady)
	c.must(c.client.Delete(t.Context(), w.DeepCopy()))
	c.await(w, "its end", isGone)
	if !c.holds(w) || len(c.runs(w, v1alpha1.TriggerDeletion)) != 0 {
		t.Error("what was to be left was destroyed")
	}
}

func TestDeletionOfWhatNeverWorkedNeedsNoRun(t *testing.T) {
	c := newCluster(t)
	c.ending(func(*v1alpha1.Run) *job.Result { return &job.Result{Class: job.ConfigInvalid, Message: "main.tf:1"} })
	c.manage(Options{})
	w := c.create(vpn())
	c.await(w, "its stall", isStalled)
	c.must(c.client.Delete(t.Context(), w.DeepCopy()))
	c.await(w, "its end", isGone)
	if len(c.runs(w, v1alpha1.TriggerDeletion)) != 0 {
		t.Error("a Run was made to destroy nothing")
	}
}

func TestWhatIsMissingAppears(t *testing.T) {
	c := newCluster(t)
	c.manage(Options{})
	w := c.create(vpn().FromSecret("psk", "vpn", "psk").FromConfigMap("cidr", "net", "cidr").Credential("cloud", "keys"))
	waits := func(what string) func(*v1alpha1.Workspace) bool {
		return func(w *v1alpha1.Workspace) bool {
			return saying(v1alpha1.ReasonInputsMissing)(w) && w.Status.WaitingFor == what
		}
	}
	c.await(w, "the Secret's name", waits(`Secret "vpn" does not exist (variable "psk")`))
	c.make(testkit.Secret("vpn", map[string]string{"other": "x"}))
	c.await(w, "the key's name", waits(`Secret "vpn" has no key "psk" (variable "psk")`))
	c.update(&corev1.Secret{}, "vpn", func(o client.Object) { o.(*corev1.Secret).Data["psk"] = []byte("x") })
	c.await(w, "the ConfigMap's name", waits(`ConfigMap "net" does not exist (variable "cidr")`))
	c.make(testkit.ConfigMap("net", map[string]string{"cidr": "x"}))
	c.await(w, "the credential's name", waits(`Secret "keys" does not exist (credential "cloud")`))
	if n := len(c.runs(w, v1alpha1.TriggerChange)); n != 0 {
		t.Errorf("%d Runs were made meanwhile", n)
	}
	c.make(testkit.Secret("keys", map[string]string{"A": "b"}))
	c.await(w, "Ready", isReady)
}

func TestAMissingRunnerClassAppears(t *testing.T) {
	c := newCluster(t)
	c.manage(Options{})
	w := c.create(vpn().Class("special"))
	c.await(w, "the class's name", saying(v1alpha1.ReasonRunnerClassMissing))
	class := &v1alpha1.RunnerClass{ObjectMeta: metav1.ObjectMeta{Name: "special"},
		Spec: v1alpha1.RunnerClassSpec{Image: "x"}}
	c.must(c.client.Create(t.Context(), class))
	c.await(w, "Ready", isReady)
}

func TestSuspendHoldsBackAndLetsGoOn(t *testing.T) {
	c := newCluster(t)
	c.manage(Options{})
	w := c.create(vpn().Suspend())
	c.await(w, "its word", saying(v1alpha1.ReasonSuspended))
	c.edit(w, func(w *v1alpha1.Workspace) { w.Spec.Suspend = false })
	c.await(w, "Ready", isReady)
	c.edit(w, func(w *v1alpha1.Workspace) { w.Spec.Suspend, w.Spec.Source.Inline.Files["main.tf"] = true, "# new" })
	c.await(w, "the suspension to be seen",
		func(w *v1alpha1.Workspace) bool { return w.Status.WaitingFor == "spec.suspend is set" })
	if n := len(c.runs(w, v1alpha1.TriggerChange)); n != 1 {
		t.Errorf("%d Runs were made", n)
	}
	c.edit(w, func(w *v1alpha1.Workspace) { w.Spec.Suspend = false })
	c.await(w, "the change",
		func(w *v1alpha1.Workspace) bool { return len(c.runs(w, v1alpha1.TriggerChange)) == 2 && isReady(w) })
}

func TestNamesOf63Characters(t *testing.T) {
	c := newCluster(t)
	c.manage(Options{})
	name := "w23456789-123456789-123456789-123456789-123456789-123456789-123"
	w := c.create(testkit.Workspace(name).Schedule("@every 1s"))
	c.await(w, "a tick", func(w *v1alpha1.Workspace) bool { return isReady(w) && w.Status.LastScheduleTime != nil })
	c.must(c.client.Delete(t.Context(), w.DeepCopy()))
	c.await(w, "its end", isGone)
}

// TestARestartDoublesNothing: the controller ends while a Pod runs, and another one takes over.
func TestARestartDoublesNothing(t *testing.T) {
	c := newCluster(t)
	c.ending(hang)
	_, stop := c.manage(Options{})
	w := c.create(vpn())
	c.await(w, "a Run that goes on", func(w *v1alpha1.Workspace) bool {
		r := c.runs(w, v1alpha1.TriggerChange)
		return len(r) == 1 && r[0].Status.StartedAt != nil && c.pods() == 1
	})
	stop()
	c.ending(applied)
	c.manage(Options{})
	c.await(w, "Ready", isReady)
	if runs := c.runs(w, v1alpha1.TriggerChange, v1alpha1.TriggerRetry); len(runs) != 1 || c.pods() != 1 {
		t.Errorf("there are %d Runs and %d Pods", len(runs), c.pods())
	}
}

// TestOfTwoControllersOneActs, and the other one when the first one ends.
func TestOfTwoControllersOneActs(t *testing.T) {
	c := newCluster(t)
	one, stopOne := c.manage(Options{LeaderElect: true})
	<-one.Elected()
	two, _ := c.manage(Options{LeaderElect: true})
	w := c.create(vpn())
	c.await(w, "Ready", isReady)
	select {
	case <-two.Elected():
		t.Fatal("both lead")
	default:
	}
	stopOne()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, func(context.Context) (bool, error) {
		select {
		case <-two.Elected():
			return true, nil
		default:
			return false, nil
		}
	})
	if err != nil {
		t.Fatal("nobody leads any more")
	}
	c.edit(w, func(w *v1alpha1.Workspace) { w.Spec.Source.Inline.Files["main.tf"] = "# new" })
	c.await(w, "the change",
		func(w *v1alpha1.Workspace) bool { return len(c.runs(w, v1alpha1.TriggerChange)) == 2 && isReady(w) })
	if c.pods() != 2 {
		t.Errorf("2 Runs have %d Pods", c.pods())
	}
}
