package driver

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// made counts what the engine has made in the cloud.
func (b *bench) made() int {
	b.t.Helper()
	text, err := os.ReadFile(b.env[cloudVariable])
	b.must(err)
	return strings.Count(string(text), "\n")
}

func (b *bench) useMaking() {
	b.useFake("makes")
	b.env[cloudVariable] = filepath.Join(b.t.TempDir(), "cloud")
	b.cfg.StatePatience = 20 * time.Millisecond
}

// TestARefusedStateEndsTheRun: one apply, the state kept, and the next Run stores it before anything else: nothing is
// made twice, whatever the state service has said.
func TestARefusedStateEndsTheRun(t *testing.T) {
	for _, status := range []int{400, 403, 409, 413, 422, 500} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			b := newBench(t)
			b.useMaking()
			b.state.answer = func(method, path string, _ int) int {
				if method == http.MethodPost && path == "/state" {
					return status
				}
				return 0
			}
			b.wantKept(b.run(t.Context()))
			b.state.answer = nil
			b.again()
			if got := b.run(t.Context()); got.Class != job.NoChanges || b.made() != 1 || string(b.state.state) != stateOf(9) {
				t.Errorf("the next Run: %s: %s; made %d", got.Class, got.Message, b.made())
			}
		})
	}
}

// wantKept wants a Run to have applied once, and its state, which was refused, to be kept and not shown.
func (b *bench) wantKept(got job.Result) {
	b.t.Helper()
	if got.Class != job.StateUnsaved || got.Class.Policy() != job.Hold || b.made() != 1 || b.calls("apply") != 1 {
		b.t.Fatalf("%s: %s; made %d, applied %d times", got.Class, got.Message, b.made(), b.calls("apply"))
	}
	if !strings.Contains(got.Message, "told to answer") || !strings.Contains(got.Message, "the next Run stores it") {
		b.t.Errorf("the message says %q", got.Message)
	}
	if len(b.state.unsaved) != 1 || b.state.lock != "" {
		b.t.Fatalf("%d states are kept, lock %q", len(b.state.unsaved), b.state.lock)
	}
	if strings.Contains(b.log.String(), "geheim") || strings.Contains(b.state.archivedLog(), "geheim") {
		b.t.Error("the state is in the log")
	}
}

// TestNothingIsAppliedBeforeTheUnsavedStateIsStored: not by a Run that can't store it, and not by one that can't ask.
func TestNothingIsAppliedBeforeTheUnsavedStateIsStored(t *testing.T) {
	for _, test := range []struct {
		name    string
		status  int
		class   job.Class
		applied bool
	}{
		{"refused", 409, job.StateUnsaved, false},
		{"locked by somebody", 423, job.StateLocked, false},
		{"forbidden", 403, job.StateUnavailable, false},
		{"away", 503, job.StateUnavailable, false},
		{"a service of a release that keeps none", 400, job.Applied, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, operation := range []job.Operation{job.Apply, job.Destroy} {
				b := newBench(t)
				b.useMaking()
				b.cfg.Params.Operation = operation
				b.state.answer = func(_, path string, _ int) int {
					if path == "/unsaved" {
						return test.status
					}
					return 0
				}
				got := b.run(t.Context())
				if got.Class != test.class || (b.calls("apply") > 0) != test.applied {
					t.Errorf("%s: %s: %s, applied %d times", operation, got.Class, got.Message, b.calls("apply"))
				}
			}
		})
	}
}

// TestAStateThatCantBeKeptEither is said to be lost, and the Workspace is held all the same.
func TestAStateThatCantBeKeptEither(t *testing.T) {
	b := newBench(t)
	b.useMaking()
	b.state.answer = func(method, path string, _ int) int {
		if method == http.MethodPost && path == "/state" || method == http.MethodPut && path == "/unsaved" {
			return http.StatusForbidden
		}
		return 0
	}
	got := b.run(t.Context())
	if got.Class != job.StateUnsaved || b.made() != 1 || !strings.Contains(got.Message, "is lost with the Pod: HTTP 403") {
		t.Errorf("%s: %s; made %d", got.Class, got.Message, b.made())
	}
}

// TestAStateServiceThatIsAwayUntilThePodsEnd: the state is tried until the end, and the Workspace is held.
func TestAStateServiceThatIsAwayUntilThePodsEnd(t *testing.T) {
	b := newBench(t)
	b.useMaking()
	b.cfg.Finish, b.cfg.Params.Timeouts.Grace = 600*time.Millisecond, time.Millisecond
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	gone := false
	b.state.answer = func(method, path string, _ int) int {
		if gone = gone || method == http.MethodPost && path == "/state"; gone {
			return http.StatusServiceUnavailable
		}
		return 0
	}
	b.log.on("== saving the state that Terraform could not save", stop)
	got := b.run(ctx)
	if got.Class != job.StateUnsaved || b.made() != 1 || !strings.Contains(got.Message, "lost with the Pod") {
		t.Errorf("%s: %s; made %d", got.Class, got.Message, b.made())
	}
}

// TestUnsavedInAForeignBackend: a state that the backend doesn't take is kept by the state service, and the next Run
// pushes it before it looks at what is there.
func TestUnsavedInAForeignBackend(t *testing.T) {
	b := newBench(t)
	b.abroad(nil, nil)
	b.env[pushesVariable] = "never"
	b.cfg.StatePatience = 20 * time.Millisecond
	if got := b.wantUnsaved("as the bucket goes away", 1); !strings.Contains(got.Message,
		"the bucket is away. The state service keeps it") {
		t.Errorf("it says %q", got.Message)
	}
	b.again()
	b.wantUnsaved("while the bucket is away", 0)
	delete(b.env, pushesVariable)
	b.again()
	b.must(os.WriteFile(filepath.Join(b.cfg.Paths.Work, "calls.state"), []byte("\n\n\n\n"), 0o600))
	b.must(os.WriteFile(filepath.Join(b.cfg.Paths.Work, "calls.apply"), []byte("\n"), 0o600))
	b.cfg.Params.Place.Lineage = "x"
	if got := b.run(t.Context()); got.Class != job.NoChanges || len(b.state.unsaved) != 0 {
		t.Errorf("when it is back: %s: %s", got.Class, got.Message)
	}
	if saved, _ := os.ReadFile(filepath.Join(b.cfg.Paths.Work, remote)); string(saved) != stateOf(9) {
		t.Errorf("saved: %s", saved)
	}
	b.cfg.Params.Place.Lineage = ""
	b.spec.Backend.Config = map[string]json.RawMessage{"bucket": json.RawMessage(`"other"`)}
	b.state.unsaved = []aside{{place: "of the first bucket"}}
	b.again()
	b.wantUnsaved("of another backend", 0)
}

// wantUnsaved wants a Run to apply that often, and one state to wait after it.
func (b *bench) wantUnsaved(when string, applies int) job.Result {
	b.t.Helper()
	got := b.run(b.t.Context())
	if got.Class != job.StateUnsaved || b.calls("apply") != applies || len(b.state.unsaved) != 1 {
		b.t.Fatalf("%s: %s: %s; applied %d times, %d states are kept", when, got.Class, got.Message, b.calls("apply"),
			len(b.state.unsaved))
	}
	return got
}
