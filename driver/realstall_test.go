//go:build integration

package driver

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/driver/job"
)

const silent = `
resource "terraform_data" "quick" {}
resource "terraform_data" "slow" {
  depends_on = [terraform_data.quick]
  provisioner "local-exec" {
    command = "sleep 300"
  }
}
`

// TestRealStall: a real engine says "Still creating..." all the time, and that is no progress.
func TestRealStall(t *testing.T) {
	withEngines(t, func(t *testing.T, b *bench) {
		b.file("main.tf", silent)
		b.cfg.Params.Timeouts.Stall = 25 * time.Second // engines tick every ten
		got := b.run(t.Context())
		want := "apply made no progress for 25s: terraform_data.slow was being created"
		if got.Class != job.Stalled || got.Message != want {
			t.Errorf("%s: %s", got.Class, got.Message)
		}
		b.checkSaved(got)
		if !strings.Contains(b.log.String(), "Still creating...") {
			t.Error("nothing ticked")
		}
	})
}

// TestRealStallOfAProvider: one that is as dead as can be.
func TestRealStallOfAProvider(t *testing.T) {
	withEngines(t, func(t *testing.T, b *bench) {
		b.mirror()
		b.file("main.tf", sleeper)
		b.cfg.KillDelay = 20 * time.Second
		b.cfg.Params.Timeouts.Stall, b.cfg.Params.Timeouts.Grace = 25*time.Second, time.Second
		b.log.on("time_sleep.long: Creating...", freezeProviders)
		got := b.run(t.Context())
		if got.Class != job.Stalled || !strings.Contains(got.Message, "time_sleep.long was being created") {
			t.Errorf("%s: %s", got.Class, got.Message)
		}
		b.checkSaved(got)
	})
}

// checkSaved checks that what was done is in the state, and that the lock is free.
func (b *bench) checkSaved(got job.Result) {
	b.t.Helper()
	if got.StateSerial == 0 || b.state.lock != "" || !bytes.Contains(b.state.state, []byte(`"quick"`)) {
		b.t.Errorf("serial %d, lock %q, state %s", got.StateSerial, b.state.lock, b.state.state)
	}
}
