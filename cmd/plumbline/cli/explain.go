package cli

import (
	"errors"
	"net"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/plumbline-dev/plumbline/state/people"
)

// Explain adds to an error what to do about it, where that is known.
func Explain(err error) string {
	text := err.Error()
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return text + "\nIs the cluster there? Try: kubectl version"
	}
	switch {
	case notServed(err):
		return text + "\nThe cluster doesn't serve state.plumbline.dev at the moment. Look whether the state service runs " +
			"(kubectl -n plumbline-system get pods), and whether state.peopleAPI.enabled is on in its chart; " +
			"a service that comes back is served again within seconds."
	case strings.Contains(text, "locked by run"):
		return text + "\nWait for the Run to end, or cancel it: kubectl patch run NAME --type merge " +
			"-p '{\"spec\":{\"cancel\":true}}'. If its Pod is certainly dead: plumbline state unlock WORKSPACE --why ..."
	case strings.Contains(text, "to be written: lineage"):
		return text + "\nPull the newest state and begin with that, or overwrite it with --force."
	case apierrors.ReasonForError(err) == people.ReasonDamaged:
		return text + "\nLook what there is with: plumbline state list WORKSPACE. To go on from the newest version that " +
			"can be read: plumbline state repair WORKSPACE --why ... (rollback, push --force and unlock work too)."
	case apierrors.IsForbidden(err) && strings.Contains(text, "needs the right"):
		return text + "\nA Role can grant it: see docs/people.md"
	case apierrors.IsUnauthorized(err):
		return text + "\nThe cluster doesn't know you, or its API server is not known to the state service. " +
			"Try: kubectl auth whoami"
	}
	return text
}

// notServed tells that nobody has the API, which isn't the same as having nothing of that name.
func notServed(err error) bool {
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok {
		return false
	}
	return status.ErrStatus.Code == http.StatusNotFound &&
		strings.Contains(status.ErrStatus.Message, "could not find the requested resource") ||
		status.ErrStatus.Code == http.StatusServiceUnavailable
}
