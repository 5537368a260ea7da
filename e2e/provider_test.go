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

// hang is a place where a provider hangs for ever, and how the Run ends that meets it.
type hang struct {
	op    string
	class job.Class
	// before is what exists already, and files what is asked for then. Nothing means that all is new.
	before, files map[string]string
}

// TestHangingProvider: wherever a provider hangs, and though no interrupt reaches it, the Run ends soon after the
// deadline or the stall, what was done is in the state, the lock is free, and the next Run heals.
func TestHangingProvider(t *testing.T) {
	t.Parallel()
	first, both := kit.Thing("first", "1"), kit.Thing("first", "1")+kit.Thing("second", "2")
	files := func(things string) map[string]string { return map[string]string{"things.tf": things} }
	for name, h := range map[string]hang{
		"configure":        {cloud.Configure, job.TimedOut, nil, files(both)},
		"create":           {cloud.Create, job.TimedOut, nil, files(both)},
		"read":             {cloud.Read, job.TimedOut, files(first), files(both)},
		"delete":           {cloud.Delete, job.TimedOut, files(first), files(kit.Thing("second", "2"))},
		"configure stalls": {cloud.Configure, job.Stalled, nil, files(both)},
		"create stalls":    {cloud.Create, job.Stalled, nil, files(both)},
		"read stalls":      {cloud.Read, job.Stalled, files(first), files(both)},
		"delete stalls":    {cloud.Delete, job.Stalled, files(first), files(kit.Thing("second", "2"))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h.test(t, suite.NewSpace(t))
		})
	}
}

func (h hang) test(t *testing.T, s *kit.Space) {
	w := s.Workspace("app", h.before, h.limits)
	begun := 0
	if h.before != nil {
		h.before["main.tf"] = s.Provider()
		s.Create(t, w)
		s.AwaitReady(t, w)
		begun = s.Begun(t, h.op)
	}
	h.files["main.tf"] = s.Provider()
	fault := cloud.Fault{Op: h.op, Kind: cloud.Hang}
	if h.op == cloud.Create {
		fault.After, begun = 1, begun+1 // one of two is made
	}
	s.Faults(t, fault)
	if w.Spec.Source.Inline.Files = h.files; h.before == nil {
		s.Create(t, w)
	} else {
		s.Change(t, w, func() { w.Spec.Source.Inline.Files = h.files })
	}
	s.AwaitBegun(t, h.op, begun+1)
	since := time.Now()
	run := s.AwaitRun(t, w, string(h.class), ended(h.class))
	t.Logf("from the hang to the end: %s (%s)", time.Since(since).Round(time.Second), run.Status.Message)
	s.Faults(t)
	s.AwaitReady(t, w)
	// Had a thing not been in the state, the cloud would have refused to make it again.
	if things := s.Things(t); len(things) != strings.Count(h.files["things.tf"], "resource ") {
		t.Errorf("there are %v", things)
	}
	remove(t, s, w)
}

// limits leaves the other way of ending out of reach.
func (h hang) limits(w *v1alpha1.Workspace) {
	short, long := &metav1.Duration{Duration: 8 * time.Second}, &metav1.Duration{Duration: time.Hour}
	grace := &metav1.Duration{Duration: 2 * time.Second}
	w.Spec.Timeouts = &v1alpha1.Timeouts{Plan: short, Apply: short, Stall: long, Grace: grace}
	if h.class == job.Stalled {
		w.Spec.Timeouts.Plan, w.Spec.Timeouts.Apply, w.Spec.Timeouts.Stall = long, long, short
	}
}

// TestExpiredToken: a provider that hangs because its token has expired ends the Run, and a new token heals.
func TestExpiredToken(t *testing.T) {
	t.Parallel()
	s := suite.NewSpace(t)
	s.Faults(t, cloud.Fault{Op: cloud.Configure, Kind: cloud.HangExpired})
	s.IssueToken(t, "token-that-ends", 0)
	token := kit.Secret("cloud", map[string]string{"CLOUD_TOKEN": "token-that-ends"})
	h := hang{op: cloud.Configure, class: job.Stalled}
	w := s.Workspace("app", map[string]string{"main.tf": s.Provider() + kit.Thing("x", "1")}, h.limits,
		func(w *v1alpha1.Workspace) {
			w.Spec.Credentials = []v1alpha1.Credential{{Name: "cloud", SecretRef: &v1alpha1.SecretRef{Name: "cloud"}}}
		})
	s.Create(t, token, w)
	s.AwaitRun(t, w, string(h.class), ended(h.class))
	s.IssueToken(t, "token-that-lasts", time.Hour)
	s.Change(t, token, func() { token.StringData = map[string]string{"CLOUD_TOKEN": "token-that-lasts"} })
	s.AwaitReady(t, w)
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
