package driver

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// TestStateServiceIsAwayForLong in mid-apply: longer than Terraform's request is tried for, and than the apply may
// take. Terraform ends with its state unsaved, the driver saves it once the service is back, and the Run ends well.
func TestStateServiceIsAwayForLong(t *testing.T) {
	b := newBench(t)
	b.useFake("unsaved")
	b.cfg.StatePatience = 50 * time.Millisecond
	b.cfg.Params.Timeouts.Apply = 3 * time.Second
	var gone, back atomic.Bool
	b.state.answer = func(method, path string, _ int) int {
		if gone.CompareAndSwap(false, method == http.MethodPost && path == "/state"); gone.Load() && !back.Load() {
			return http.StatusServiceUnavailable
		}
		return 0
	}
	b.log.on("== saving the state that Terraform could not save", func() {
		time.AfterFunc(b.cfg.Params.Timeouts.Apply+200*time.Millisecond, func() { back.Store(true) })
	})
	got := b.run(t.Context())
	if got.Class != job.Applied || got.StateSerial != 9 || got.Changes.Add != 1 || b.state.lock != "" {
		t.Errorf("result: %+v, changes %+v, lock %q", got, got.Changes, b.state.lock)
	}
	if _, err := os.Stat(filepath.Join(b.cfg.Paths.Work, erroredState)); err == nil {
		t.Errorf("%s is still there", erroredState)
	}
	b.checkReports(got)
}

// TestAStateIsSavedUntilThePodsEnd: it is tried for until the Pod is asked to stop, and in its last seconds still.
func TestAStateIsSavedUntilThePodsEnd(t *testing.T) {
	b := newBench(t)
	b.useFake("unsaved")
	b.cfg.StatePatience = 50 * time.Millisecond
	b.cfg.Params.Timeouts.Apply = time.Second
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	b.state.answer = func(method, path string, _ int) int {
		if method == http.MethodPost && path == "/state" && ctx.Err() == nil {
			return http.StatusServiceUnavailable
		}
		return 0
	}
	b.log.on("== saving the state that Terraform could not save", func() { time.AfterFunc(1200*time.Millisecond, stop) })
	got := b.run(ctx)
	if got.StateSerial != 9 || string(b.state.state) != stateOf(9) || b.state.lock != "" {
		t.Errorf("result: %+v; the state is %s, lock %q", got, b.state.state, b.state.lock)
	}
}
