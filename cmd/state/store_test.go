package main

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/store/open"
)

// A server that keeps what it is given, whatever the condition.
func overwriting(t *testing.T) string {
	var objects sync.Map
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			body, _ := io.ReadAll(r.Body)
			objects.Store(r.URL.Path, body)
		} else if body, ok := objects.Load(r.URL.Path); ok {
			_, _ = w.Write(body.([]byte))
		}
	}))
	t.Cleanup(server.Close)
	return "s3://bucket?region=r&use_path_style=true&endpoint=" + url.QueryEscape(server.URL)
}

func TestOpenStore(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	log := slog.New(slog.DiscardHandler)
	for name, test := range map[string]struct {
		address string
		want    error
	}{
		"a folder":                         {"file://" + t.TempDir(), nil},
		"a bucket that overwrites":         {overwriting(t), state.ErrUnfit},
		"a parameter that nothing goes by": {"file:///tmp?x=1", open.ErrURL},
	} {
		t.Run(name, func(t *testing.T) {
			store, err := openStore(t.Context(), test.address, open.Options{Clock: clock.RealClock{}}, log)
			if !errors.Is(err, test.want) || (store == nil) != (test.want != nil) {
				t.Errorf("got %v, %v; want %v", store, err, test.want)
			}
		})
	}
}

// hasty is a clock on which waiting takes no time.
type hasty struct{ *clocktesting.FakeClock }

func (h hasty) After(d time.Duration) <-chan time.Time {
	h.Step(d)
	now := make(chan time.Time, 1)
	now <- h.Now()
	return now
}

// What is refused for good looks like a store that is away: it is waited for, and not for ever.
func TestAStoreIsNotWaitedForForEver(t *testing.T) {
	clk := hasty{clocktesting.NewFakeClock(time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC))}
	began := clk.Now()
	log := slog.New(slog.DiscardHandler)
	_, err := openStore(t.Context(), "file:///there/is/no/such/folder", open.Options{Clock: clk}, log)
	if err == nil || !strings.Contains(err.Error(), "was tried for 5m0s: opening the store") {
		t.Errorf("got %v, want that it was tried for long and why it failed", err)
	}
	if waited := clk.Since(began); waited < startPatience || waited > startPatience+startRetry {
		t.Errorf("waited for %s, want %s", waited, startPatience)
	}
}
