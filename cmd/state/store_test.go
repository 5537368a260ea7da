package main

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"

	"k8s.io/utils/clock"

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
