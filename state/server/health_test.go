package server

import (
	"context"
	"errors"
	"testing"

	clocktesting "k8s.io/utils/clock/testing"
)

// TestHealthIsLookedAtOnceInAWhile: anybody may ask, and the store isn't read for each of them.
func TestHealthIsLookedAtOnceInAWhile(t *testing.T) {
	clk, down := clocktesting.NewFakeClock(start), errors.New("down")
	looks := 0
	var store error
	h := &health{clock: clk, check: func(ctx context.Context) error {
		looks++
		return errors.Join(store, ctx.Err())
	}}
	hungUp, cancel := context.WithCancel(t.Context())
	cancel()
	for _, step := range []struct {
		store, want error
		looks       int
	}{{nil, nil, 1}, {down, down, 2}, {nil, nil, 3}} {
		store = step.store
		for range 100 {
			if err := h.look(hungUp); !errors.Is(err, step.want) {
				t.Errorf("got %v, want %v", err, step.want)
			}
			store = errors.New("not looked at")
		}
		if looks != step.looks {
			t.Errorf("the store was looked at %d times, want %d", looks, step.looks)
		}
		clk.Step(healthKept)
	}
}
