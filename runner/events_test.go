package runner

import (
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// TestEventsAreNeverTooLong: the API server refuses those over 1,024 bytes, and the more complicated a failure is the
// longer it takes to tell.
func TestEventsAreNeverTooLong(t *testing.T) {
	long := strings.Repeat("el año que viene ", 150) // under what a driver may report, and over what an event may hold
	w := newWorld(t, vpn().Obj())
	w.settle()
	w.finish(w.live()[0], job.Result{Class: job.ConfigInvalid, Message: long})
	w.settle()
	other := newWorld(t, vpn().Obj())
	other.refuse("create Run", apierrors.NewBadRequest(long))
	if err := other.pass(); err == nil {
		t.Error("no error is returned: nothing would try again")
	}
	if !w.told("ConfigInvalid", "el año que viene") || !other.told("Refused", "el año que viene") {
		t.Errorf("nobody was told: %q, %q", w.events, other.events)
	}
	for _, e := range append(w.events, other.events...) {
		if _, note, ok := strings.Cut(strings.TrimPrefix(e, "Warning "), " "); !ok || len(note) > 1024 {
			t.Errorf("an event has %d bytes", len(note))
		}
	}
}
