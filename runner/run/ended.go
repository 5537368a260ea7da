package run

import (
	"cmp"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
)

// Ended are the finished Runs of a Workspace, oldest first.
func Ended(w *v1alpha1.Workspace, all []v1alpha1.Run) []v1alpha1.Run {
	var mine []v1alpha1.Run
	for i := range all {
		if !Foreign(w, &all[i]) {
			mine = append(mine, all[i])
		}
	}
	return inOrder(mine)
}

// inOrder are the finished Runs in the order of their ends. That is the order of their numbers; those that ended under
// a release that gave none stand where their times put them.
func inOrder(all []v1alpha1.Run) []v1alpha1.Run {
	var numbered, timed []v1alpha1.Run
	for i := range all {
		switch r := all[i]; {
		case !Finished(&r):
		case r.Status.Sequence > 0:
			numbered = append(numbered, r)
		default:
			timed = append(timed, r)
		}
	}
	slices.SortFunc(numbered, func(a, b v1alpha1.Run) int {
		return cmp.Or(cmp.Compare(a.Status.Sequence, b.Status.Sequence), byTime(a, b))
	})
	slices.SortFunc(timed, byTime)
	ended := make([]v1alpha1.Run, 0, len(numbered)+len(timed))
	for _, r := range numbered {
		for len(timed) > 0 && !r.Status.FinishedAt.Before(timed[0].Status.FinishedAt) {
			ended, timed = append(ended, timed[0]), timed[1:]
		}
		ended = append(ended, r)
	}
	return append(ended, timed...)
}

// byTime compares finished Runs by a clock. Times are kept in seconds, and two Runs may end in one: then the one that
// was written later is the later one, for nothing is written to a Run after its end.
func byTime(a, b v1alpha1.Run) int {
	written, err := resourceversion.CompareResourceVersion(a.ResourceVersion, b.ResourceVersion)
	if err != nil {
		written = 0 // not from an API server
	}
	return cmp.Or(
		a.Status.FinishedAt.Compare(b.Status.FinishedAt.Time),
		a.CreationTimestamp.Compare(b.CreationTimestamp.Time),
		written,
		cmp.Compare(a.Name, b.Name),
	)
}

// following is the number of the Run that ends next. The Workspace's status knows of Runs that are gone, the list of
// Runs that the status doesn't tell of yet.
func following(w *v1alpha1.Workspace, all []v1alpha1.Run) int64 {
	var last int64
	if w != nil {
		last = w.Status.Sequence
	}
	for i := range all {
		last = max(last, all[i].Status.Sequence)
	}
	return last + 1
}

// News tells whether a finished Run is no older than the newest that the Workspace's status tells of. Of those without
// a number their end tells, against that of the Run that the status has a thing from.
func News(w *v1alpha1.Workspace, r *v1alpha1.Run, from *metav1.Time) bool {
	if r.Status.Sequence > 0 {
		return r.Status.Sequence >= w.Status.Sequence
	}
	return from == nil || !r.Status.FinishedAt.Before(from)
}

// Foreign tells whether a Run belongs to an earlier Workspace of the same name. One that was launched had an owner,
// which a deletion that leaves the dependents has taken off it.
func Foreign(w *v1alpha1.Workspace, r *v1alpha1.Run) bool {
	if len(r.OwnerReferences) == 0 && r.Status.StartedAt != nil && r.CreationTimestamp.Before(&w.CreationTimestamp) {
		return true
	}
	for _, o := range r.OwnerReferences {
		if o.Kind == "Workspace" && o.UID != w.UID {
			return true
		}
	}
	return false
}
