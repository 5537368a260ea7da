package workspace

import (
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/internal/testkit"
)

// TestRetriesAreSpread: what failed at one moment isn't tried again at one moment.
func TestRetriesAreSpread(t *testing.T) {
	in := scene{workspace: vpn(), runs: runs{ended("a", job.Transient)}}.input()
	for share, want := range map[int64]time.Duration{0: 15 * time.Second, 500: 15750 * time.Millisecond} {
		in.Share = share
		if at, again := retryAt(in, in.Last); !again || !at.Equal(testkit.At(time.Minute+want)) {
			t.Errorf("%d: got %s, %v", share, at, again)
		}
	}
}

// TestTicksAreSpread, unless the Workspace wants them on the dot.
func TestTicksAreSpread(t *testing.T) {
	for _, on := range []bool{true, false} {
		s := scene{workspace: vpn().Schedule("@hourly"), runs: runs{ended("a", job.Applied)}, after: time.Minute}
		want := testkit.At(time.Hour)
		if !on {
			s.workspace = s.workspace.With(func(w *v1alpha1.Workspace) { w.Spec.Drift.Jitter = nil })
			want = want.Add(30 * time.Second)
		}
		in := s.input()
		in.Share = 500
		in.ticks()
		if !in.NextTick.Equal(want) {
			t.Errorf("on the dot: %v: got %s", on, in.NextTick)
		}
	}
}
