package run

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/internal/testkit"
)

func endedAt(name string, minute, sequence int) *testkit.RunBuilder {
	at := testkit.At(time.Duration(minute) * time.Minute)
	return testkit.Run("vpn", name).Launched(at).Ended(job.Applied, at).
		With(func(r *v1alpha1.Run) { r.Status.Sequence = int64(sequence) })
}

// TestEndedIsInOrderWhateverTheClock: numbers tell, and times where there are none.
func TestEndedIsInOrderWhateverTheClock(t *testing.T) {
	for _, test := range []struct {
		name string
		runs []*testkit.RunBuilder
		want string
	}{
		{"a clock that goes on", []*testkit.RunBuilder{endedAt("a", 1, 1), endedAt("b", 2, 2)}, "a b"},
		{"one that stepped back by an hour", []*testkit.RunBuilder{endedAt("a", 90, 1), endedAt("b", 31, 2)}, "a b"},
		{"and forth again", []*testkit.RunBuilder{endedAt("a", 90, 1), endedAt("b", 31, 2), endedAt("c", 92, 3)}, "a b c"},
		{"Runs of a release without numbers", []*testkit.RunBuilder{endedAt("b", 2, 0), endedAt("a", 1, 0)}, "a b"},
		{"and those of the next", []*testkit.RunBuilder{endedAt("b", 2, 0), endedAt("a", 1, 0), endedAt("d", 4, 2),
			endedAt("c", 3, 1)}, "a b c d"},
		{"and of a roll back in between", []*testkit.RunBuilder{endedAt("a", 1, 1), endedAt("b", 2, 0), endedAt("c", 3, 2)},
			"a b c"},
		{"what goes on has not ended", []*testkit.RunBuilder{endedAt("a", 1, 1),
			testkit.Run("vpn", "b").Launched(testkit.Epoch)}, "a"},
		{"nor has another Workspace's of the same name", []*testkit.RunBuilder{endedAt("a", 1, 1),
			endedAt("b", 2, 7).With(func(r *v1alpha1.Run) { r.OwnerReferences[0].UID = "earlier" })}, "a"},
	} {
		var all []v1alpha1.Run
		for _, b := range test.runs {
			all = append(all, *b.Obj())
		}
		for range 2 {
			var names []string
			for _, r := range Ended(testkit.Workspace("vpn").Obj(), all) {
				names = append(names, r.Name)
			}
			if got := strings.Join(names, " "); got != test.want {
				t.Errorf("%s: got %s, want %s", test.name, got, test.want)
			}
			slices.Reverse(all) // whatever the order of the list
		}
	}
}

// TestFollowing: the number of a Run that is gone is not given again.
func TestFollowing(t *testing.T) {
	knows := testkit.Workspace("vpn").With(func(w *v1alpha1.Workspace) { w.Status.Sequence = 7 }).Obj()
	for _, test := range []struct {
		name string
		w    *v1alpha1.Workspace
		runs []v1alpha1.Run
		want int64
	}{
		{"the first", testkit.Workspace("vpn").Obj(), nil, 1},
		{"all Runs were deleted", knows, nil, 8},
		{"a cache that knows the Runs and not yet the status", testkit.Workspace("vpn").Obj(),
			[]v1alpha1.Run{*endedAt("a", 1, 9).Obj()}, 10},
		{"no Workspace", nil, []v1alpha1.Run{*endedAt("a", 1, 3).Obj()}, 4},
	} {
		if got := following(test.w, test.runs); got != test.want {
			t.Errorf("%s: got %d, want %d", test.name, got, test.want)
		}
	}
}

func TestNews(t *testing.T) {
	from := metav1.NewTime(testkit.At(time.Hour))
	for _, test := range []struct {
		name            string
		minute, of, has int
		want            bool
	}{
		{"a later number, by a clock that stepped back", 1, 8, 7, true},
		{"an earlier number, by a clock that was ahead", 90, 6, 7, false},
		{"the same Run again", 60, 7, 7, true},
		{"the first number after a release without", 1, 1, 0, true},
		{"no number, and later", 61, 0, 7, true},
		{"no number, and earlier", 59, 0, 7, false},
	} {
		w := testkit.Workspace("vpn").With(func(w *v1alpha1.Workspace) { w.Status.Sequence = int64(test.has) }).Obj()
		if got := News(w, endedAt("a", test.minute, test.of).Obj(), &from); got != test.want {
			t.Errorf("%s: got %v", test.name, got)
		}
	}
	if !News(testkit.Workspace("vpn").Obj(), endedAt("a", 1, 0).Obj(), nil) {
		t.Error("a status that tells of none takes any Run for news")
	}
}
