//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/e2e/cloud"
	"github.com/plumbline-dev/plumbline/e2e/kit"
)

const (
	pleaseRetry = "operation cannot be completed, please retry again"
	broken      = "the thing is too blue"
)

// TestTransientErrorIsRetriedInTheRun: one Run, because the driver plans and applies again.
func TestTransientErrorIsRetriedInTheRun(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	s.Faults(t, cloud.Fault{Op: cloud.Create, Kind: cloud.Fail, Message: pleaseRetry, Times: 1})
	w := s.Workspace("app", map[string]string{"main.tf": s.Provider() + kit.Thing("x", "1")})
	s.Create(t, w)
	s.AwaitReady(t, w)
	if runs := s.Runs(t, w); len(runs) != 1 {
		t.Errorf("it took %d Runs", len(runs))
	}
}

// TestFailure: a failure of no known kind is retried so many times and no more; then the Workspace waits for a person.
func TestFailure(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	s.Faults(t, cloud.Fault{Op: cloud.Create, Kind: cloud.Fail, Message: broken})
	w := s.Workspace("app", map[string]string{"main.tf": s.Provider() + kit.Thing("x", "1")}, func(w *v1alpha1.Workspace) {
		w.Spec.Retry.Limit = new(int32(1))
	})
	s.Create(t, w)
	kit.Await(t, s, w, func(w *v1alpha1.Workspace) bool {
		return kit.Condition(w, v1alpha1.ConditionStalled).Status == metav1.ConditionTrue
	})
	ready := kit.Condition(w, v1alpha1.ConditionReady)
	if ready.Reason != string(job.ApplyFailed) || !strings.Contains(ready.Message, broken) {
		t.Errorf("it says %s: %s", ready.Reason, ready.Message)
	}
	if w.Status.Failures != 2 {
		t.Errorf("%d failures, want the first and one retry", w.Status.Failures)
	}
	// The annotation helps a Workspace that gave up, too.
	s.Faults(t)
	s.Rerun(t, w, "again")
	s.AwaitReady(t, w)
	if w.Status.Failures != 0 {
		t.Errorf("%d failures after success", w.Status.Failures)
	}
}

// TestMadeAndFailed: the cloud made the thing and then failed. What happened is said; nothing is imported unasked.
func TestMadeAndFailed(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	s.Faults(t, cloud.Fault{Op: cloud.Create, Kind: cloud.FailAfter, Message: pleaseRetry, Times: 1})
	w := s.Workspace("app", map[string]string{"main.tf": s.Provider() + kit.Thing("x", "1")}, func(w *v1alpha1.Workspace) {
		w.Spec.Retry.Limit = new(int32(0))
	})
	s.Create(t, w)
	if message := s.AwaitReason(t, w, job.AlreadyExists); !strings.Contains(message, "already exists") {
		t.Errorf("it says: %s", message)
	}
}

// TestHangingProvider: a step that passes its time is ended, whatever the provider does, and says so.
func TestHangingProvider(t *testing.T) {
	t.Parallel()
	short := &metav1.Duration{Duration: 8 * time.Second}
	for _, op := range []string{cloud.Configure, cloud.Create} {
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			s := suite.NewSpace(t)
			s.Faults(t, cloud.Fault{Op: op, Kind: cloud.Hang})
			files := map[string]string{"main.tf": s.Provider() + kit.Thing("x", "1")}
			w := s.Workspace("app", files, func(w *v1alpha1.Workspace) {
				w.Spec.Timeouts = &v1alpha1.Timeouts{Plan: short, Apply: short, Grace: &metav1.Duration{Duration: 2 * time.Second}}
			})
			s.Create(t, w)
			s.AwaitRun(t, w, string(job.TimedOut), ended(job.TimedOut))
			s.Faults(t)
			s.AwaitReady(t, w)
		})
	}
}

// TestLargeState: 20 MiB that hardly compress go there and back, are changed and destroyed.
func TestLargeState(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	s.Patience = 4 * time.Minute // it keeps a machine busy that other tests share
	hcl := func(value string) map[string]string {
		return map[string]string{"main.tf": s.Provider() + fmt.Sprintf(`resource "cloud_thing" "big" {
  count       = 5
  name        = "big${count.index}"
  value       = %q
  ballast_mib = 4
}
output "size" { value = sum([for t in cloud_thing.big : length(t.ballast)]) }
`, value)}
	}
	w := s.Workspace("app", hcl("1"))
	s.Create(t, w)
	s.AwaitReady(t, w)
	awaitOutputs(t, s, "app-outputs", map[string]string{"size": "20971520"})
	s.Change(t, w, func() { w.Spec.Source.Inline.Files = hcl("2") })
	s.AwaitReady(t, w)
	if c := w.Status.LastRun.Changes; c == nil || c.Change != 5 || c.Add != 0 {
		t.Errorf("the second Run changed %+v: the state of the first was not there", c)
	}
	remove(t, s, w)
}

// TestNoisyProvider: what a provider prints takes neither the Run nor its memory with it.
func TestNoisyProvider(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	s.Faults(t, cloud.Fault{Op: cloud.Create, Kind: cloud.Print, MiB: 100},
		cloud.Fault{Op: cloud.Create, Kind: cloud.Warn, MiB: 20})
	w := s.Workspace("app", map[string]string{"main.tf": s.Provider() + kit.Thing("x", "1")})
	s.Create(t, w)
	s.AwaitReady(t, w)
	if runs := s.Runs(t, w); len(runs) != 1 {
		t.Errorf("it took %d Runs", len(runs))
	}
}
