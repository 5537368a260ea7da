package driver

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// TestADamagedStateHasItsOwnClass: what the state service says of a state or a lock that can't be read isn't asked
// again, and is the class of the Run, whatever Terraform makes of it.
func TestADamagedStateHasItsOwnClass(t *testing.T) {
	for method, says := range map[string]string{
		"GET":  "Error refreshing state: HTTP remote state internal server error",
		"LOCK": "Error acquiring the state lock",
	} {
		t.Run(method, func(t *testing.T) {
			b := newBench(t)
			b.state.answer = func(string, string, int) int { return http.StatusInternalServerError }
			b.state.reason = job.StateDamaged
			r := &run{Config: b.cfg, stderr: &tail{}, said: &stream{errors: judge([]diagnostic{{Summary: says}})}}
			r.proxy = b.proxy()
			body := map[string]string{"LOCK": lock1}[method]
			if got, _ := b.ask(r.proxy, method, "", body); got != http.StatusInternalServerError || len(b.state.asked) != 1 {
				t.Errorf("got %d after %d requests", got, len(b.state.asked))
			}
			got := r.failed(t.Context(), errors.New("exit status 1"), step{name: "plan", fails: job.PlanFailed})
			if got.class != job.StateDamaged || !strings.Contains(got.message, "told to answer 500") {
				t.Errorf("failure: %+v", got)
			}
			b.state.answer = nil
			_, _ = b.ask(r.proxy, method, "", body)
			if class := r.proxy.lastClass(); class != "" {
				t.Errorf("after a good answer it is still %s", class)
			}
		})
	}
}

// Only what holds a Run is believed: a word of a newer service, or one that would be retried, is none.
func TestAnswersHaveAClass(t *testing.T) {
	for body, want := range map[string]job.Class{
		`{"error": "x", "reason": "StateDamaged"}`: job.StateDamaged,
		`{"error": "x", "reason": "StateMissing"}`: job.StateMissing,
		`{"error": "x", "reason": "Applied"}`:      "",
		`{"error": "x", "reason": "Transient"}`:    "",
		`{"error": "x", "reason": "Unheard"}`:      "",
		`{"error": "x"}`:                           "",
		`<html>`:                                   "",
	} {
		if got := (answer{http.StatusInternalServerError, []byte(body)}).class(); got != want {
			t.Errorf("%s: got %q, want %q", body, got, want)
		}
	}
	if got := (answer{http.StatusOK, []byte(`{"reason": "StateDamaged"}`)}).class(); got != "" {
		t.Errorf("a good answer: got %q", got)
	}
}

func TestDamagedOutputsAreNotTriedForEver(t *testing.T) {
	b := newBench(t)
	b.useFake("apply")
	b.state.reason = job.StateDamaged
	b.state.answer = func(_, path string, _ int) int {
		if path == "/outputs" {
			return http.StatusInternalServerError
		}
		return 0
	}
	if got := b.run(t.Context()); got.Class != job.StateDamaged {
		t.Errorf("result: %+v", got)
	}
}
