// Package classify gives what Terraform said a class. It is pure: a table of patterns, read from the top, and one rule
// for several errors at once.
//
//	the step's error + Terraform's diagnostics and stderr --Failure--> job.Class
//
// Every pattern is proven by a file in testdata, in the folder that is named like the class.
package classify

import (
	"context"
	"errors"
	"slices"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// rank orders the classes of several errors of one step: the first of those present is the step's. What needs a person
// comes first, because trying again can't help the others past it; what heals by itself counts only when nothing else
// went wrong. The empty class stands for an error that the table doesn't know.
var rank = []job.Class{
	job.ConfigInvalid,
	job.CredentialsExpired,
	job.CredentialsDenied,
	job.QuotaExceeded,
	job.AlreadyExists,
	"",
	job.StateLocked,
	job.StateUnavailable,
	job.Transient,
}

// Failure is the class of a step that ended with err, of which Terraform said the given things. What the table doesn't
// know is of the class otherwise.
func Failure(err error, said []string, otherwise job.Class) job.Class {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return job.TimedOut
	case errors.Is(err, context.Canceled):
		return job.Canceled
	case len(said) == 0:
		return otherwise
	}
	classes := make([]job.Class, 0, len(said))
	for _, text := range said {
		classes = append(classes, Text(text))
	}
	worst := slices.MinFunc(classes, func(a, b job.Class) int { return slices.Index(rank, a) - slices.Index(rank, b) })
	if worst == "" {
		return otherwise
	}
	return worst
}

// Text is the class of one error text: the first pattern that matches, or the empty class.
func Text(text string) job.Class {
	for _, r := range table {
		if r.pattern.MatchString(text) {
			return r.class
		}
	}
	return ""
}

// Retryable tells whether the driver itself tries again after the class. An object that "already exists" stays there,
// and the other classes need another Run, a person, or the end.
func Retryable(c job.Class) bool {
	return c == job.Transient || c == job.StateLocked || c == job.StateUnavailable
}
