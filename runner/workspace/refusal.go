package workspace

import (
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
)

// refusedError is an object that the API server, a quota, a policy or a webhook would not take.
type refusedError struct {
	// reason is the condition's.
	reason string
	what   string
	err    error
}

func (e *refusedError) Error() string { return e.what + ": " + e.err.Error() }
func (e *refusedError) Unwrap() error { return e.err }

// refused makes an answer to a write a *refusedError. That somebody else wrote first is none, and neither is a broken
// connection.
func refused(what string, err error) error {
	var answer apierrors.APIStatus
	if !errors.As(err, &answer) || apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("%s: %w", what, err)
	}
	e := &refusedError{v1alpha1.ReasonRefused, what, err}
	if apierrors.IsForbidden(err) && strings.Contains(err.Error(), "quota") {
		e.reason = string(job.QuotaExceeded)
	}
	return e
}
