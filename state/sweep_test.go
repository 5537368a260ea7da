package state

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
)

// TestChoresGoByTime: whichever replica looks first does what is due, and a restart changes nothing of that.
func TestChoresGoByTime(t *testing.T) {
	store, clk := newFakeStore(), clocktesting.NewFakePassiveClock(time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC))
	fresh := func() *Service {
		return New(Options{Store: store, Pods: &pods{}, Clock: clk, Log: slog.New(slog.DiscardHandler)})
	}
	done := 0
	var fails error
	c := Chore{Name: "versions", Every: 12 * time.Hour, Do: func(context.Context) error {
		done++
		return fails
	}}
	down := errors.New("down")
	for _, step := range []struct {
		what  string
		after time.Duration
		fails error
		want  int
	}{
		{"the first server of a store", 0, nil, 1},
		{"another one, a moment later", time.Minute, nil, 1},
		{"one that has just started, before it is time", 11 * time.Hour, nil, 1},
		{"one that has just started, when it is time", time.Hour, nil, 2},
		{"one that fails", 12 * time.Hour, down, 3},
		{"another one, at once", 0, nil, 3},
		{"another one, when the first has surely ended", sweepTimeout, nil, 4},
		{"a clock that was set back", -time.Hour, nil, 5},
	} {
		clk.SetTime(clk.Now().Add(step.after))
		fails = step.fails
		if err := fresh().sweep(t.Context(), c); !errors.Is(err, step.fails) {
			t.Errorf("%s: got %v, want %v", step.what, err, step.fails)
		}
		if done != step.want {
			t.Fatalf("%s: it was done %d times, want %d", step.what, done, step.want)
		}
	}
}

// TestOneOfTheReplicasDoesAChore: the other one looks while the first has begun.
func TestOneOfTheReplicasDoesAChore(t *testing.T) {
	store := newFakeStore()
	one, two := newService(store, &pods{}), newService(store, &pods{})
	done := 0
	c := Chore{Name: "archive", Every: time.Hour, Do: func(context.Context) error { done++; return nil }}
	store.fail = func(op, key string) error {
		if op+" "+key == "create sweep/archive/000000000001" {
			store.fail = nil
			return two.sweep(t.Context(), c)
		}
		return nil
	}
	if err := one.sweep(t.Context(), c); err != nil || done != 1 {
		t.Errorf("it was done %d times, %v; want once", done, err)
	}
}

// TestSweepEnds with its context, and has done what was due at once.
func TestSweepEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		newService(newFakeStore(), &pods{}).Sweep(ctx, Chore{Name: "x", Every: time.Hour, Do: func(context.Context) error {
			cancel()
			return nil
		}})
	}()
	<-done
}
