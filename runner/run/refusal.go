package run

import (
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
)

const (
	// firstPause is the wait after the first refusal. It doubles with each further one, up to lastPause; up to lastDenied
	// for what only somebody with rights on the namespace can change.
	firstPause = 2 * time.Second
	lastPause  = time.Minute
	lastDenied = 5 * time.Minute
)

// refusedError is an object that the API server answered for with anything but yes.
type refusedError struct {
	what string
	err  error
}

func (e *refusedError) Error() string { return e.what + ": " + e.err.Error() }
func (e *refusedError) Unwrap() error { return e.err }

// refused makes an answer of the API server a *refusedError. An error that is none, such as a broken connection, stays
// what it is: it is about the controller's own surroundings, and no news for the Workspace.
func refused(what string, err error) error {
	var answer apierrors.APIStatus
	if errors.As(err, &answer) {
		return &refusedError{what, err}
	}
	return fmt.Errorf("%s: %w", what, err)
}

// onRefusal is what follows when the API server refuses what a launch needs. Nothing is launched by then, so the Run
// waits, and no attempt is used up. What can only be put right in the spec ends the Run.
func onRefusal(in Input, e *refusedError) Decision {
	switch {
	case apierrors.HasStatusCause(e.err, corev1.NamespaceTerminatingCause):
		return Decision{Do: Finish, Class: job.Canceled, Message: "the namespace is being deleted"}
	case lasting(e.err):
		return Decision{Do: Finish, Class: job.ConfigInvalid, Message: e.Error()}
	}
	reason, longest := v1alpha1.ReasonRefused, lastPause
	switch text := e.err.Error(); {
	case strings.Contains(text, "quota"):
		reason = string(job.QuotaExceeded)
	case strings.Contains(text, "service account"): // it is made a moment after its namespace
	case apierrors.IsForbidden(e.err), denied(e.err):
		longest = lastDenied
	}
	return waitFor(in, reason, e.Error(), longest)
}

// waitFor says why a launch waits, and for how long it is left alone.
func waitFor(in Input, reason, message string, longest time.Duration) Decision {
	refusal := nextRefusal(in, longest)
	return Decision{Do: Note, Reason: reason, Message: message, Refusal: refusal, Recheck: refusal.NextTry.Sub(in.Now)}
}

// lasting tells whether the object itself is wrong, whatever becomes of the namespace and its policies.
func lasting(err error) bool {
	wrong := apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsRequestEntityTooLargeError(err)
	return wrong && !denied(err)
}

// denied tells whether an admission webhook or policy said no, which they do under any status.
func denied(err error) bool {
	return strings.Contains(err.Error(), "denied the request") || strings.Contains(err.Error(), "denied request")
}

func nextRefusal(in Input, longest time.Duration) *v1alpha1.Refusal {
	next := v1alpha1.Refusal{Since: metav1.NewTime(in.Now)}
	if before := in.Run.Status.Refused; before != nil {
		next = *before
	}
	pause := firstPause
	for i := int32(0); i < next.Times && pause < longest; i++ {
		pause *= 2
	}
	next.Times++
	next.Generation = in.Workspace.Generation
	// Times are kept in seconds: what is rounded down would be looked at too early, and refused once more.
	next.NextTry = metav1.NewTime(in.Now.Add(min(pause, longest)).Truncate(time.Second).Add(time.Second))
	return &next
}

// pausing is how long a launch that was refused is still left alone. An edit of the Workspace may be the cure, and a
// time that lies further ahead than any pause was written by a clock that went wrong.
func pausing(in Input) time.Duration {
	refusal := in.Run.Status.Refused
	if refusal == nil || refusal.Generation != in.Workspace.Generation {
		return 0
	}
	if left := refusal.NextTry.Sub(in.Now); left <= lastDenied+time.Second {
		return left
	}
	return 0
}
