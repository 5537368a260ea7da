package run

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
)

// Ended are the finished Runs of a Workspace, oldest first.
func Ended(w *v1alpha1.Workspace, all []v1alpha1.Run) []v1alpha1.Run {
	var ended []v1alpha1.Run
	for i := range all {
		if Finished(&all[i]) && !Foreign(w, &all[i]) {
			ended = append(ended, all[i])
		}
	}
	slices.SortFunc(ended, inOrderOfEnd)
	return ended
}

// inOrderOfEnd compares finished Runs. Times are kept in seconds, and two Runs may end in one: then the one that was
// written later is the later one, for nothing is written to a Run after its end.
func inOrderOfEnd(a, b v1alpha1.Run) int {
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

// Foreign tells whether a Run belongs to an earlier Workspace of the same name.
func Foreign(w *v1alpha1.Workspace, r *v1alpha1.Run) bool {
	for _, o := range r.OwnerReferences {
		if o.Kind == "Workspace" && o.UID != w.UID {
			return true
		}
	}
	return false
}
