package server

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/state"
)

var (
	// ErrUnauthenticated is for a token that is missing, not valid, expired or for another audience.
	ErrUnauthenticated = errors.New("not authenticated")
	// ErrForbidden is for somebody who is known and may not.
	ErrForbidden = errors.New("not allowed")
	// ErrReported is for a second Result that differs from the first.
	ErrReported = errors.New("the run has reported another result already")
)

// statuses tells what callers learn; the first that fits wins. What isn't listed is the fault of the surroundings.
var statuses = []struct {
	err    error
	status int
}{
	{ErrUnauthenticated, http.StatusUnauthorized},
	{ErrForbidden, http.StatusForbidden},
	{ErrReported, http.StatusConflict},
	{errPanic, http.StatusInternalServerError},
	{state.ErrUnsaved, http.StatusConflict},
	{state.ErrMade, http.StatusConflict},
	{state.ErrInvalid, http.StatusBadRequest},
	{state.ErrNotHolder, http.StatusConflict},
	{state.ErrOutdated, http.StatusConflict},
	{state.ErrConflict, http.StatusConflict},
	{state.ErrInUse, http.StatusConflict},
	{state.ErrArchived, http.StatusConflict},
	{state.ErrNotFound, http.StatusNotFound},
	// Not 503, for trying again betters nothing.
	{state.ErrDamaged, http.StatusInternalServerError},
	{state.ErrArchiveDamaged, http.StatusInternalServerError},
}

// reasonDamaged is the machine-readable reason of an answer about a state, a lock or outputs that can't be read. It is
// the word for the class of a Run that meets it.
const reasonDamaged = string(job.StateDamaged)

// answerTo turns an error into an answer. The text of one that isn't listed stays in the log: it may name what is none
// of the caller's business.
func answerTo(err error) answer {
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return answerError(http.StatusRequestEntityTooLarge, err.Error())
	}
	if missing, ok := errors.AsType[*state.MissingError](err); ok {
		return answerRefusal(http.StatusPreconditionFailed, refusal{Error: missing.Text, Reason: string(job.StateMissing)})
	}
	if locked, ok := errors.AsType[*state.LockedError](err); ok && !errors.Is(err, state.ErrNotHolder) {
		return answerError(http.StatusConflict, locked.Error())
	}
	for _, s := range statuses {
		if errors.Is(err, s.err) {
			return answerRefusal(s.status, explained(s.err, err))
		}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return answerError(http.StatusBadRequest, "the request's body ended early")
	}
	return answerError(http.StatusServiceUnavailable, "the state can't be reached just now; try again")
}

// refusal is the body of an answer that is an error.
type refusal struct {
	Error string `json:"error"`
	// Reason is for programs, where the status doesn't tell enough.
	Reason string `json:"reason,omitempty"`
}

// explained adds the reason that programs go by, and what a person can do.
func explained(kind, err error) refusal {
	switch {
	case errors.Is(kind, state.ErrUnsaved), errors.Is(kind, state.ErrMade):
		return refusal{Error: err.Error(), Reason: string(job.StateUnsaved)}
	case !errors.Is(kind, state.ErrDamaged):
		return refusal{Error: err.Error()}
	}
	return refusal{
		Error: err.Error() + "; what can't be read is kept: plumbline state list WORKSPACE shows the versions, " +
			"plumbline state repair WORKSPACE goes on from the newest that can be read",
		Reason: reasonDamaged,
	}
}

func answerError(status int, text string) answer { return answerRefusal(status, refusal{Error: text}) }

func answerRefusal(status int, r refusal) answer {
	b, err := json.Marshal(r)
	if err != nil {
		b = []byte(`{"error": "unknown"}`)
	}
	return answer{status: status, body: b}
}

// writeAnswer returns how much was sent. Its error is that of a stream which broke off; that the caller may be gone is
// none, for the work is done either way.
func writeAnswer(w http.ResponseWriter, a answer) (sent int, err error) {
	if a.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	if len(a.body) > 0 || a.stream != nil {
		w.Header().Set("Content-Type", cmp.Or(a.kind, "application/json"))
	}
	w.WriteHeader(a.status)
	if a.stream != nil {
		return pour(w, a.stream)
	}
	_, _ = w.Write(a.body)
	return len(a.body), nil
}

// pour copies until the stream's end or the caller's.
func pour(w io.Writer, from io.Reader) (sent int, err error) {
	piece := make([]byte, job.MaxChunk)
	for {
		n, err := from.Read(piece)
		if _, gone := w.Write(piece[:n]); gone != nil {
			return sent, nil //nolint:nilerr // nobody is there to be told
		}
		sent += n
		if errors.Is(err, io.EOF) {
			return sent, nil
		}
		if err != nil {
			return sent, err
		}
	}
}
