package job

import "regexp"

// Class is the one word for how a Run, or a step of it, ended. The same word is the result's class, the condition's
// reason, the event's reason and the metric's label.
type Class string

// The classes.
const (
	// Success.
	Applied   Class = "Applied"
	NoChanges Class = "NoChanges"
	Planned   Class = "Planned"

	// What was asked for is wrong, or Terraform failed for a reason that has no class of its own.
	ConfigInvalid Class = "ConfigInvalid"
	InitFailed    Class = "InitFailed"
	PlanFailed    Class = "PlanFailed"
	ApplyFailed   Class = "ApplyFailed"
	AlreadyExists Class = "AlreadyExists"
	QuotaExceeded Class = "QuotaExceeded"

	// Credentials.
	CredentialsUnavailable Class = "CredentialsUnavailable"
	CredentialsDenied      Class = "CredentialsDenied"
	CredentialsExpired     Class = "CredentialsExpired"

	// State.
	StateLocked      Class = "StateLocked"
	StateUnavailable Class = "StateUnavailable"
	// StateMissing: the state is absent, older, of another lineage or of another store than the last Run left it.
	StateMissing Class = "StateMissing"
	// StateDamaged: the newest version of the state, or its lock, can't be read.
	StateDamaged Class = "StateDamaged"
	// StateUnsaved: something was applied, and the backend did not take the state that says so.
	StateUnsaved Class = "StateUnsaved"
	// PlanStale: the state has moved on since the plan was made.
	PlanStale Class = "PlanStale"

	// Time and the surroundings.
	Transient        Class = "Transient"
	TimedOut         Class = "TimedOut"
	Stalled          Class = "Stalled"
	Canceled         Class = "Canceled"
	Evicted          Class = "Evicted"
	OOMKilled        Class = "OOMKilled"
	PodLost          Class = "PodLost"
	ImageUnavailable Class = "ImageUnavailable"
	NoResult         Class = "NoResult"
)

// Policy is what follows a class.
type Policy string

// The policies.
const (
	// Done: it ended well.
	Done Policy = "Done"
	// Retry: again with backoff, up to the limit; then a person is needed.
	Retry Policy = "Retry"
	// Persist: again with backoff for as long as it lasts, because the cause lies in the surroundings and heals there.
	Persist Policy = "Persist"
	// Hold: a person is needed; the same again would end the same.
	Hold Policy = "Hold"
	// Stop: somebody asked for the end.
	Stop Policy = "Stop"
)

var policies = map[Class]Policy{
	Applied: Done, NoChanges: Done, Planned: Done,
	ConfigInvalid: Hold,
	InitFailed:    Retry, PlanFailed: Retry, ApplyFailed: Retry, AlreadyExists: Retry, QuotaExceeded: Retry,
	CredentialsUnavailable: Persist, CredentialsDenied: Persist, CredentialsExpired: Persist,
	StateLocked: Persist, StateUnavailable: Persist,
	StateMissing: Hold, StateDamaged: Hold, StateUnsaved: Hold,
	PlanStale: Retry,
	Transient: Retry, TimedOut: Retry, Stalled: Retry, OOMKilled: Retry, NoResult: Retry,
	Evicted: Persist, PodLost: Persist, ImageUnavailable: Persist,
	Canceled: Stop,
}

// Classes returns every class, in no order.
func Classes() []Class {
	all := make([]Class, 0, len(policies))
	for c := range policies {
		all = append(all, c)
	}
	return all
}

// Policy says what follows. A class of a newer release that this one doesn't know is retried within the limit.
func (c Class) Policy() Policy {
	if p, ok := policies[c]; ok {
		return p
	}
	return Retry
}

var word = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{0,62}$`)

// valid tells whether the class is a single word, as those of newer releases are too.
func (c Class) valid() bool { return word.MatchString(string(c)) }

// Succeeded tells whether the class is a good end.
func (c Class) Succeeded() bool { return c.Policy() == Done }
