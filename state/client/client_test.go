package client

import (
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// serve starts a TLS server and returns a client of it, with its files in a folder that tests may change.
func serve(t *testing.T, h http.HandlerFunc) (*Client, *httptest.Server) {
	t.Helper()
	server := httptest.NewTLSServer(h)
	t.Cleanup(server.Close)
	dir := t.TempDir()
	c := New(Options{
		URL: server.URL + "/", CAFile: filepath.Join(dir, "ca.crt"), TokenFile: filepath.Join(dir, "token"),
		Timeout: time.Minute,
	})
	write(t, c.TokenFile, "one\n")
	write(t, c.CAFile, string(caOf(server)))
	return c, server
}

func caOf(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestOutputs(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/v1/workspaces/ns/vpn/outputs" {
			t.Errorf("got %s %s", r.Method, r.URL.Path)
		}
		_, _ = w.Write([]byte(`{"id":{"sensitive":true,"value":"x"}}`))
	})
	got, err := c.Outputs(t.Context(), "ns", "vpn")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]job.Output{"id": {Sensitive: true, Value: []byte(`"x"`)}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAccessors(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.RequestURI != "/v1/workspaces/ns/vpn/runs/vpn-1/accessors?runUID=u1" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte(`["a","b"]`))
	})
	vpn := Workspace{Namespace: "ns", Name: "vpn"}
	got, err := c.Accessors(t.Context(), vpn, Run{"vpn-1", "u1"})
	if diff := cmp.Diff([]string{"a", "b"}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := c.Accessors(t.Context(), vpn, Run{"vpn-1", "u2"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("of a Run that has noted none: got %v", err)
	}
}

func TestStatuses(t *testing.T) {
	for status, want := range map[int]struct{ outputs, del error }{
		404: {ErrNotFound, nil},
		409: {ErrInUse, ErrInUse},
		401: {ErrDenied, ErrDenied},
		403: {ErrDenied, ErrDenied},
		500: {ErrUnavailable, ErrUnavailable},
		503: {ErrUnavailable, ErrUnavailable},
	} {
		c, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		if _, err := c.Outputs(t.Context(), "ns", "vpn"); !errors.Is(err, want.outputs) {
			t.Errorf("outputs, %d: got %v, want %v", status, err, want.outputs)
		}
		if err := c.DeleteWorkspace(t.Context(), Removal{Workspace: Workspace{"ns", "vpn", "u"}}); !errors.Is(err, want.del) {
			t.Errorf("delete, %d: got %v, want %v", status, err, want.del)
		}
	}
}

func TestDeleteWorkspaceNamesTheUID(t *testing.T) {
	c, _ := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodDelete || r.RequestURI != "/v1/workspaces/ns/vpn?uid=a%2Fb" {
			t.Errorf("got %s %s", r.Method, r.RequestURI)
		}
	})
	if err := c.DeleteWorkspace(t.Context(), Removal{Workspace: Workspace{"ns", "vpn", "a/b"}}); err != nil {
		t.Error(err)
	}
}

func TestFilesAreReadAnew(t *testing.T) {
	var token string
	ok := func(w http.ResponseWriter, r *http.Request) {
		token = r.Header.Get("Authorization")
		_, _ = w.Write([]byte(`{}`))
	}
	c, _ := serve(t, ok)
	call := func() error { _, err := c.Outputs(t.Context(), "ns", "vpn"); return err }
	if err := call(); err != nil || token != "Bearer one" {
		t.Errorf("first: %v with %q", err, token)
	}
	write(t, c.TokenFile, "two")
	if err := call(); err != nil || token != "Bearer two" {
		t.Errorf("with a new token: %v with %q", err, token)
	}
	good, err := os.ReadFile(c.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "rubbish"} {
		write(t, c.CAFile, bad)
		if err := call(); !errors.Is(err, ErrUnavailable) {
			t.Errorf("with a CA file of %q: got %v, want ErrUnavailable", bad, err)
		}
	}
	write(t, c.CAFile, string(good))
	if err := call(); err != nil {
		t.Errorf("with the CA again: %v", err)
	}
	if err := os.Remove(c.TokenFile); err != nil {
		t.Fatal(err)
	}
	if err := call(); !errors.Is(err, ErrUnavailable) {
		t.Errorf("without a token: got %v, want ErrUnavailable", err)
	}
}

func TestAwayIsUnavailable(t *testing.T) {
	c, server := serve(t, func(http.ResponseWriter, *http.Request) {})
	server.Close()
	if _, err := c.Outputs(t.Context(), "ns", "vpn"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
}

func TestRubbishIsNoOutputs(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) })
	if got, err := c.Outputs(t.Context(), "ns", "vpn"); err == nil {
		t.Errorf("got %v, want an error", got)
	}
}

func TestDeleteRun(t *testing.T) {
	for status, want := range map[int]error{200: nil, 404: nil, 403: ErrDenied, 503: ErrUnavailable} {
		c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodDelete || r.RequestURI != "/v1/workspaces/ns/vpn/runs/vpn-1?uid=u" {
				t.Errorf("got %s %s", r.Method, r.RequestURI)
			}
			w.WriteHeader(status)
		})
		vpn := Workspace{Namespace: "ns", Name: "vpn", UID: "u"}
		if err := c.DeleteRun(t.Context(), vpn, "vpn-1"); !errors.Is(err, want) {
			t.Errorf("%d: got %v, want %v", status, err, want)
		}
	}
}

func TestReleaseLock(t *testing.T) {
	const holder = `{"namespace":"ns","run":"vpn-1","pod":"vpn-1-pod","podUID":"u"}`
	for _, test := range []struct {
		status int
		body   string
		want   *Holder
		held   string
		err    error
	}{
		{200, `{"released":` + holder + `}`, &Holder{"ns", "vpn-1", "vpn-1-pod"}, "", nil},
		{200, `{"released":null}`, nil, "", nil},
		{409, `{"error":"locked by run ns/vpn-1","holder":` + holder + `}`, nil, "locked by run ns/vpn-1", nil},
		{409, `<html>`, nil, "", ErrInUse},
		{404, `{"error":"no such workspace"}`, nil, "", ErrNotFound},
		{503, `{"error":"away"}`, nil, "", ErrUnavailable},
	} {
		c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodDelete || r.RequestURI != "/v1/workspaces/ns/vpn/lock" {
				t.Errorf("got %s %s", r.Method, r.RequestURI)
			}
			w.WriteHeader(test.status)
			_, _ = w.Write([]byte(test.body))
		})
		got, err := c.ReleaseLock(t.Context(), "ns", "vpn")
		if held, ok := errors.AsType[*HeldError](err); ok {
			if test.held == "" || held.Text != test.held || held.Holder.Pod != "vpn-1-pod" {
				t.Errorf("%d %s: held by %+v", test.status, test.body, held)
			}
			continue
		}
		if !errors.Is(err, test.err) || test.held != "" || !cmp.Equal(got, test.want) {
			t.Errorf("%d %s: got %+v, %v", test.status, test.body, got, err)
		}
	}
}
