package server

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net/http"

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
	{state.ErrUnsaved, http.StatusConflict},
	{state.ErrInvalid, http.StatusBadRequest},
	{state.ErrNotHolder, http.StatusConflict},
	{state.ErrOutdated, http.StatusConflict},
	{state.ErrConflict, http.StatusConflict},
	{state.ErrInUse, http.StatusConflict},
	{state.ErrArchived, http.StatusConflict},
	{state.ErrNotFound, http.StatusNotFound},
}

// answerTo turns an error into an answer. The text of one that isn't listed stays in the log: it may name what is none
// of the caller's business.
func answerTo(err error) answer {
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return answerError(http.StatusRequestEntityTooLarge, err.Error())
	}
	if locked, ok := errors.AsType[*state.LockedError](err); ok && !errors.Is(err, state.ErrNotHolder) {
		return answerError(http.StatusConflict, locked.Error())
	}
	for _, s := range statuses {
		if errors.Is(err, s.err) {
			return answerError(s.status, err.Error())
		}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return answerError(http.StatusBadRequest, "the request's body ended early")
	}
	return answerError(http.StatusServiceUnavailable, "the state can't be reached just now; try again")
}

func answerError(status int, text string) answer {
	b, err := json.Marshal(map[string]string{"error": text})
	if err != nil {
		b = []byte(`{"error": "unknown"}`)
	}
	return answer{status: status, body: b}
}

func writeAnswer(w http.ResponseWriter, a answer) {
	if a.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	if len(a.body) > 0 {
		w.Header().Set("Content-Type", cmp.Or(a.kind, "application/json"))
	}
	w.WriteHeader(a.status)
	// The caller may be gone; the work is done either way.
	_, _ = w.Write(a.body)
}
