package supervise

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const patience = 20 * time.Second

func sleeper(t *testing.T, name string, after ...string) Process {
	t.Helper()
	return Process{
		Name: name, Argv: []string{"sleep", "600"}, Env: os.Environ(), After: after,
		Log: filepath.Join(t.TempDir(), name+".log"),
	}
}

// start runs the processes for the length of the test.
func start(t *testing.T, processes ...Process) (*Supervisor, context.Context) {
	t.Helper()
	s, err := New(processes)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	done := make(chan struct{})
	go func() { s.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return s, ctx
}

func (s *Supervisor) mustReach(ctx context.Context, t *testing.T, name string, want func(Status) bool) Status {
	t.Helper()
	u := s.names[name]
	if !u.until(ctx, func() bool { return want(u.status) }) {
		t.Fatalf("%s never got there: %+v", name, u.snapshot())
	}
	return u.snapshot()
}

func isReady(s Status) bool { return s.State == Ready }

func TestAProcessStartsWhenWhatItNeedsIsReady(t *testing.T) {
	var open atomic.Bool
	first := sleeper(t, "first")
	first.Ready = func(context.Context) error {
		if open.Load() {
			return nil
		}
		return errors.New("not yet")
	}
	s, ctx := start(t, first, sleeper(t, "second", "first"))
	s.mustReach(ctx, t, "first", func(s Status) bool { return s.State == Starting })
	if got := s.names["second"].snapshot().State; got != Waiting {
		t.Errorf("second is %s before first is ready, want %s", got, Waiting)
	}
	open.Store(true)
	s.mustReach(ctx, t, "second", isReady)
}

func TestAKilledProcessComesBack(t *testing.T) {
	s, ctx := start(t, sleeper(t, "a"))
	before := s.mustReach(ctx, t, "a", isReady)
	if err := s.Kill("a"); err != nil {
		t.Fatal(err)
	}
	after := s.mustReach(ctx, t, "a", func(s Status) bool { return s.Restarts == 1 && isReady(s) })
	if after.PID == before.PID || after.LastExit != "signal: killed" {
		t.Errorf("after the kill: %+v, before: %+v", after, before)
	}
}

func TestAStoppedProcessStaysStoppedUntilStarted(t *testing.T) {
	s, ctx := start(t, sleeper(t, "a"), sleeper(t, "b"))
	s.mustReach(ctx, t, "a", isReady)
	if err := s.Stop(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if got := s.names["a"].snapshot(); got.State != Stopped || got.PID != 0 || got.Restarts != 0 {
		t.Errorf("after Stop: %+v", got)
	}
	if err := s.Kill("a"); err == nil {
		t.Error("killing what does not run succeeded")
	}
	if err := s.Start(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if got := s.names["a"].snapshot(); !isReady(got) || got.PID == 0 {
		t.Errorf("after Start: %+v", got)
	}
	if err := s.Stop(ctx, "c"); !errors.Is(err, ErrUnknown) {
		t.Errorf("stopping what there is not: %v, want ErrUnknown", err)
	}
}

func TestWhatCannotStartIsTriedAgainAndSaysWhy(t *testing.T) {
	broken := sleeper(t, "broken")
	broken.Argv = []string{filepath.Join(t.TempDir(), "missing")}
	s, ctx := start(t, broken)
	got := s.mustReach(ctx, t, "broken", func(s Status) bool { return s.Restarts > 1 })
	if got.LastExit == "" {
		t.Errorf("no reason given: %+v", got)
	}
	if err := s.Stop(ctx, "broken"); err != nil {
		t.Errorf("stopping between two tries: %v", err)
	}
}

func TestTheEndStopsEverything(t *testing.T) {
	s, err := New([]Process{sleeper(t, "a"), sleeper(t, "b", "a")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	done := make(chan struct{})
	go func() { s.Run(ctx); close(done) }()
	s.mustReach(ctx, t, "b", isReady)
	cancel()
	<-done
	var states []State
	for _, status := range s.Status() {
		states = append(states, status.State)
	}
	if diff := cmp.Diff(slices.Repeat([]State{Stopped}, 2), states); diff != "" {
		t.Error(diff)
	}
}

func TestANeedThatIsNotThereIsRefused(t *testing.T) {
	if _, err := New([]Process{sleeper(t, "a", "ghost")}); !errors.Is(err, ErrUnknown) {
		t.Errorf("New = %v, want ErrUnknown", err)
	}
}
