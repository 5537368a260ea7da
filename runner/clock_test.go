package runner

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
)

// TestTheClockStepsBack by an hour: what ends then is newer than what ended before, and drift checks go on.
func TestTheClockStepsBack(t *testing.T) {
	w := newWorld(t, vpn().Schedule("@every 10m").Value("size", "1").Obj())
	w.clock.Step(2 * time.Hour)
	w.drive("Ready", w.ready)
	w.clock.SetTime(w.clock.Now().Add(-time.Hour))
	w.respec(func(o *v1alpha1.Workspace) { o.Spec.Variables = vpn().Value("size", "2").Obj().Spec.Variables })
	w.drive("Ready with the change", func() bool {
		status, of := w.readyFor()
		return status == "True" && of == 2
	})
	s := w.workspace().Status
	if s.Sequence != 3 || s.Applied.Run != s.LastRun.Name || s.LastRun.Trigger != v1alpha1.TriggerChange {
		t.Errorf("the status tells of Run %d, the last one is %+v, applied is %+v", s.Sequence, s.LastRun, s.Applied)
	}
	for range 3 { // what nextRunTime says is what happens
		w.drive("rest", func() bool { return len(w.live()) == 0 && w.ready() })
		next := w.workspace().Status.NextRunTime
		if next == nil || next.After(w.clock.Now().Add(10*time.Minute)) {
			t.Fatalf("at %s the next Run is at %s", w.clock.Now(), next)
		}
		w.clock.SetTime(next.Time)
		w.settle()
		if len(w.live()) != 1 {
			t.Fatalf("at %s no Run has come", next)
		}
	}
}

// TestTheClockStepsBackWhileAPodIsGone: the Run is given up after the usual time, and not an hour later.
func TestTheClockStepsBackWhileAPodIsGone(t *testing.T) {
	w := newWorld(t, vpn().Obj())
	w.settle()
	lost := w.live()[0]
	w.clock.Step(time.Hour)
	w.must(w.base.Delete(t.Context(), &lost))
	w.settle()
	w.clock.SetTime(w.clock.Now().Add(-time.Hour))
	w.settle()
	w.clock.Step(10 * time.Second)
	w.settle()
	if r := w.run(lost.Name); r.Status.Class != string(job.PodLost) {
		t.Errorf("the Run says %q: %s", r.Status.Class, r.Status.Conditions[0].Message)
	}
}

// TestATimeThatHasNotComeIsNotBelieved: the status, or a Run, says that checks were done until the year 2999.
func TestATimeThatHasNotComeIsNotBelieved(t *testing.T) {
	w := newWorld(t, vpn().Schedule("@every 10m").Obj())
	w.drive("Ready", w.ready)
	o := w.workspace()
	o.Status.LastScheduleTime = new(metav1.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC))
	w.must(w.base.Status().Update(t.Context(), o))
	w.clock.Step(11 * time.Minute)
	w.settle()
	if len(w.live()) != 1 {
		t.Fatal("drift checks have ended")
	}
	w.drive("its end", func() bool { return len(w.live()) == 0 })
	if at := w.workspace().Status.LastScheduleTime; at == nil || at.After(w.clock.Now()) {
		t.Errorf("the last tick is said to be that of %s", at)
	}
}
