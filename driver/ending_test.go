package driver

import (
	"context"
	"os"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/plumbline-dev/plumbline/driver/credentials"
	"github.com/plumbline-dev/plumbline/driver/job"
)

const allDone = "Apply complete! Resources: 3 added, 0 changed, 0 destroyed."

// TestAnApplyThatIsThroughIsApplied: credentials that end, or a Pod that is asked to stop, as the apply completes
// change nothing about it: the summary counts, and the outputs are stored.
func TestAnApplyThatIsThroughIsApplied(t *testing.T) {
	check := func(t *testing.T, b *bench, got job.Result) {
		if got.Class != job.Applied || got.Changes.Add != 3 || got.OutputsDigest == "" || len(b.state.outputs) != 2 {
			t.Errorf("%s: %s, changes %+v, %d outputs", got.Class, got.Message, got.Changes, len(b.state.outputs))
		}
		b.checkReports(got)
	}
	t.Run("the credentials end", func(t *testing.T) {
		b := newBench(t)
		b.useFake("lingers")
		v := b.useVault(cloudCredential())
		v.answers["aws/creds/deployer"] = leased(time.Hour, true)
		v.keep = &credentials.Error{Class: job.CredentialsExpired, Message: "the lease ends at noon"}
		b.log.on(allDone, func() { close(v.keeping) })
		check(t, b, b.run(t.Context()))
	})
	t.Run("the Pod is asked to stop", func(t *testing.T) {
		b := newBench(t)
		b.useFake("lingers")
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		b.log.on(allDone, stop)
		check(t, b, b.run(ctx))
	})
}

// TestAWordIsLeftWhenTheStopComes: a driver that is killed in the Pod's last moments has said that it was asked to
// stop.
func TestAWordIsLeftWhenTheStopComes(t *testing.T) {
	b := newBench(t)
	b.useFake("hangs")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	b.log.on("terraform_data.a: Creating...", stop)
	left := make(chan job.Result, 1)
	b.state.answer = func(method, path string, _ int) int {
		if method == "POST" && path == "/state" { // the engine has been interrupted
			left <- b.word()
		}
		return 0
	}
	got := b.run(ctx)
	if word := <-left; word.Class != job.Canceled || word.Run != "vpn-1" || word.Message == got.Message {
		t.Errorf("at the stop: %+v", word)
	}
	if word := b.word(); word.Message != got.Message {
		t.Errorf("at the end: %+v", word)
	}
}

// word is what the termination message says, as soon as there is one.
func (b *bench) word() job.Result {
	for {
		text, err := os.ReadFile(b.cfg.Paths.Termination)
		if r, bad := job.Parse(string(text)); err == nil && bad == nil {
			return r
		}
	}
}

// TestThePodsEndIsOneDeadline: what comes later has no time of its own after that, and some is left for each.
func TestThePodsEndIsOneDeadline(t *testing.T) {
	const grace = time.Minute
	now := clocktesting.NewFakePassiveClock(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))
	r := &run{Config: Config{Clock: now}}
	r.Params.Timeouts.Grace = grace
	began := now.Now()
	r.stopped()
	for _, test := range []struct {
		part  by
		vault bool
		ends  time.Duration
	}{
		{byState, false, grace + 20*time.Second},
		{byReport, false, grace + 25*time.Second},
		{byRevoke, false, grace + 27*time.Second},
		{byFlush, false, grace + 28*time.Second},
		{byReport, true, grace + 25*time.Second},
		{byRevoke, true, grace + 42*time.Second},
		{byFlush, true, grace + 43*time.Second},
	} {
		if r.Params.Vault = nil; test.vault {
			r.Params.Vault = &job.Vault{}
		}
		for _, passed := range []time.Duration{0, time.Second, grace + 19*time.Second, grace + 50*time.Second} {
			now.SetTime(began.Add(passed))
			if got := r.timeLeft(test.part); got != test.ends-passed {
				t.Errorf("part %d has %s after %s, want %s", test.part, got, passed, test.ends-passed)
			}
		}
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	after, cancel := r.afterStop(stopped, time.Hour, byState)
	defer cancel()
	<-after.Done() // its part is over: no new time begins
}
