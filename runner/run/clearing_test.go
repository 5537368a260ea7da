package run

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/internal/testkit"
	"github.com/plumbline-dev/plumbline/runner/pod"
)

// TestAPodIsNotClearedWhileItMayBeRecorded: of two controllers that both believe to lead, one has made the Pod a moment
// ago. The other one waits for its record before it takes the Pod for nobody's.
func TestAPodIsNotClearedWhileItMayBeRecorded(t *testing.T) {
	for _, test := range []struct {
		name    string
		labels  map[string]string
		age     time.Duration
		do      Do
		recheck time.Duration
	}{
		{"just made", map[string]string{pod.LabelComponent: pod.Component}, time.Second, Note, creating - time.Second},
		{"of a clock that is a little ahead", map[string]string{pod.LabelComponent: pod.Component}, -time.Second, Note,
			creating + time.Second},
		{"left behind", map[string]string{pod.LabelComponent: pod.Component}, creating, Clear, lastPause},
		{"from the future", map[string]string{pod.LabelComponent: pod.Component}, -time.Hour, Clear, lastPause},
		{"not as a controller makes it", nil, time.Second, Clear, lastPause},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := testkit.Pod(testkit.Run("vpn", "vpn-1").Obj()).Obj()
			p.Labels = test.labels
			p.CreationTimestamp = metav1.NewTime(testkit.Epoch.Add(-test.age))
			got := Next(Input{
				Run: testkit.Run("vpn", "vpn-1").Obj(), Workspace: testkit.Workspace("vpn").Obj(), Pod: p, Now: testkit.Epoch,
			})
			if got.Do != test.do || got.Recheck != test.recheck {
				t.Errorf("got %s, again in %s; want %s, again in %s", got.Do, got.Recheck, test.do, test.recheck)
			}
		})
	}
}
