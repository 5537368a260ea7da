// Package classify gives an engine's error a class: by the structure of the diagnostic first, by its words second. It
// is pure.
//
//	Diagnostic --core's own summaries--> class
//	           --file and line, and nothing that it is about--> the configuration
//	           --the words of providers and clouds--> class, or none: then it is the step's own
//	the classes of all of a step's errors --Outranks--> the one that decides
//
// Every row is proven by testdata: a file of diagnostics for each provider, and texts in folders named like the class.
package classify

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// Diagnostic is one error as an engine tells it.
type Diagnostic struct {
	Summary, Detail string
	// Address is what a provider's error is about, such as aws_vpc.a or provider["..."]; core's own errors have none.
	Address string
	// Placed tells that the error has a file and a line.
	Placed bool
}

// text is what patterns are matched with.
func (d Diagnostic) text() string {
	if d.Detail == "" {
		return d.Summary
	}
	return d.Summary + ": " + d.Detail
}

// Class is the class of one error; it is empty for one that no row knows, which then is the step's own.
func (d Diagnostic) Class() job.Class {
	text := strings.TrimPrefix(d.text(), "Error: ")
	for _, r := range core {
		if r.begins.MatchString(text) && (r.addressed || d.Address == "") {
			return r.classOf(text)
		}
	}
	if d.Placed && d.Address == "" {
		return job.ConfigInvalid
	}
	class, _ := first(providers, text)
	return class
}

// first is the class of the first row that matches.
func first(table []row, text string) (job.Class, bool) {
	for _, r := range table {
		if r.pattern.MatchString(text) {
			return r.class, true
		}
	}
	return "", false
}

// Ended is the class of a step whose context ended, and whether it did.
func Ended(err error) (job.Class, bool) {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return job.TimedOut, true
	case errors.Is(err, context.Canceled):
		return job.Canceled, true
	}
	return "", false
}

// rank orders the classes of several errors of one step: the first of those present is the step's. What needs a person
// comes first, because trying again can't help the others past it; what heals by itself counts only when nothing else
// went wrong. The empty class stands for an error that no row knows.
var rank = []job.Class{
	job.ConfigInvalid,
	job.PlanStale,
	job.CredentialsExpired,
	job.CredentialsDenied,
	job.QuotaExceeded,
	job.AlreadyExists,
	"",
	job.TimedOut,
	job.StateLocked,
	job.StateUnavailable,
	job.Transient,
}

// Outranks tells whether an error of class a, and not one of class b, decides the class of a step that has both.
func Outranks(a, b job.Class) bool { return slices.Index(rank, a) < slices.Index(rank, b) }

// Retryable tells whether the driver itself tries again after the class, within the Run. An object that "already
// exists" stays there, what a provider has waited for in vain would be waited for again, and the other classes need
// another Run, a person, or the end.
func Retryable(c job.Class) bool {
	return c == job.Transient || c == job.StateLocked || c == job.StateUnavailable
}
