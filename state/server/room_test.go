package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/store/memory"
)

func callOf(t *testing.T, namespace string) *call {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.SetPathValue("namespace", namespace)
	return &call{r: r}
}

// TestANamespaceLeavesRoom: slow clients of one namespace hold its share, and those of another go on.
func TestANamespaceLeavesRoom(t *testing.T) {
	r := newRoom()
	first, waiting, other := callOf(t, "greedy"), callOf(t, "greedy"), callOf(t, "modest")
	if err := r.hold(t.Context(), first, maxState); err != nil {
		t.Fatal(err)
	}
	over, stop := context.WithCancel(t.Context())
	stop()
	err := r.hold(over, waiting, maxState)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "greedy") {
		t.Errorf("a second large body of the namespace: %v, want one that waits", err)
	}
	if err := r.hold(t.Context(), other, maxState); err != nil {
		t.Errorf("another namespace's: %v", err)
	}
	r.shrink(first, 1<<20)
	if err := r.hold(t.Context(), waiting, maxState); err != nil {
		t.Errorf("what is not needed is given back: %v", err)
	}
	for _, c := range []*call{first, waiting, other} {
		r.release(c)
	}
	if len(r.shares) > 0 || !r.all.TryAcquire(largeRoom) {
		t.Errorf("room is not given back: %v", r.shares)
	}
}

// TestReadsTakeRoom: a large state that is read weighs as one that is written; a small one does from its second
// read on.
func TestReadsTakeRoom(t *testing.T) {
	s := newServer(&gate{}, &memory.Store{}, slog.New(slog.DiscardHandler))
	h := s.Handler()
	write := func(ws string, size int) {
		t.Helper()
		token, path := "ns/"+ws+"/a", "/v1/workspaces/ns/"+ws+"/state"
		do(t, h, exchange{token: token, method: "LOCK", path: path, body: lock1})
		body := fmt.Sprintf(`{"serial":1,"pad":%q}`, strings.Repeat("x", size))
		got := do(t, h, exchange{token: token, method: "POST", path: path + "?ID=1", body: body})
		if got.Code != http.StatusOK {
			t.Fatalf("writing %d bytes: %d", size, got.Code)
		}
	}
	read := func(ws string, patience time.Duration) int {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		req := httptest.NewRequestWithContext(ctx, http.MethodGet, "/v1/workspaces/ns/"+ws+"/state", nil)
		req.Header.Set("Authorization", "Bearer ns/"+ws+"/a")
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, req)
		return rec.Code
	}
	write("small", 10)
	write("large", 2<<20)
	for _, ws := range []string{"small", "large"} {
		if got := read(ws, time.Minute); got != http.StatusOK {
			t.Fatalf("reading the %s state: %d", ws, got)
		}
	}
	if !s.room.all.TryAcquire(largeRoom) {
		t.Fatal("reads don't give their room back")
	}
	if got := read("small", time.Minute); got != http.StatusOK {
		t.Errorf("a small state without room: %d, want 200", got)
	}
	if got := read("large", time.Second/4); got != http.StatusServiceUnavailable {
		t.Errorf("a large state without room: %d, want 503", got)
	}
}

// panicking is a store with a fault in it.
type panicking struct{ state.Store }

func (panicking) Get(context.Context, string) ([]byte, error)    { panic("index out of range") }
func (panicking) List(context.Context, string) ([]string, error) { panic("index out of range") }

func TestAPanicIsAnswered(t *testing.T) {
	var logged strings.Builder
	s := newServer(&gate{}, panicking{&memory.Store{}}, slog.New(slog.NewJSONHandler(&logged, nil)))
	got := do(t, s.Handler(), exchange{token: oneRun, method: "GET", path: st})
	if got.Code != http.StatusInternalServerError || !strings.Contains(got.Body.String(), "its log has the cause") {
		t.Errorf("got %d %s", got.Code, got.Body)
	}
	for _, part := range []string{"index out of range", "room_test.go", `"action":"read","outcome":"failed"`} {
		if !strings.Contains(logged.String(), part) {
			t.Errorf("the log lacks %q:\n%s", part, logged.String())
		}
	}
	if n := testutil.ToFloat64(s.metrics.panics.WithLabelValues("state_get")); n != 1 {
		t.Errorf("%v panics are counted, want 1", n)
	}
}

// TestEveryRouteIsAudited but the one for the log's pieces.
func TestEveryRouteIsAudited(t *testing.T) {
	audited := map[string]bool{}
	for _, r := range slices.Concat(routes, manageRoutes, archiveRoutes, unsavedRoutes) {
		audited[r.name] = r.action != unaudited
	}
	for _, r := range slices.Concat(personRoutes, personArchiveRoutes, personUnsavedRoutes) {
		audited[r.name] = r.action != unaudited
	}
	for name, is := range audited {
		if is == (name == "log_put") {
			t.Errorf("route %s: audited is %v", name, is)
		}
	}
}
