package cloud

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// step is a request and what shall come of it.
type step struct {
	method, path, body string
	status             int
	answer             string
}

func (s step) take(t *testing.T, url string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, s.method, url+s.path, strings.NewReader(s.body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var raw json.RawMessage
	_ = json.NewDecoder(res.Body).Decode(&raw)
	return res.StatusCode, string(raw)
}

func TestThings(t *testing.T) {
	server := httptest.NewServer(NewServer())
	defer server.Close()
	for _, step := range []step{
		{"GET", "/spaces/a/things/x", "", 404, ""},
		{"POST", "/spaces/a/things/x", "1", 200, "null"},
		{"POST", "/spaces/a/things/x", "2", 409, ""},
		{"GET", "/spaces/a/things/x", "", 200, `"1"`},
		{"PUT", "/spaces/a/things/x", "3", 200, ""},
		{"GET", "/spaces/a/things", "", 200, `{"x":"3"}`},
		{"GET", "/spaces/b/things", "", 200, `{}`},
		{"GET", "/spaces/a/operations/made", "", 200, "1"}, // the one that was refused made nothing
		{"DELETE", "/spaces/a/things/x", "", 200, ""},
		{"GET", "/spaces/a/things", "", 200, `{}`},
	} {
		status, answer := step.take(t, server.URL)
		if status != step.status || answer != step.answer {
			t.Errorf("%s %s: got %d %s, want %d %s", step.method, step.path, status, answer, step.status, step.answer)
		}
	}
}

func TestFaultsAreUsedUp(t *testing.T) {
	s := newSpace()
	s.setFaults([]Fault{
		{Op: Create, Kind: Fail, Message: "no", Times: 2}, {Op: Create, Kind: Print, MiB: 3},
	})
	for _, want := range []Orders{{Fail: "no", PrintMiB: 3}, {Fail: "no", PrintMiB: 3}, {PrintMiB: 3}} {
		got, err := s.begin(t.Context(), Create, "")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestAFaultLetsTheFirstPass(t *testing.T) {
	s := newSpace()
	s.setFaults([]Fault{{Op: Create, Kind: Fail, Message: "no", After: 1, Times: 1}})
	for i, want := range []string{"", "no", ""} {
		if o, err := s.begin(t.Context(), Create, ""); err != nil || o.Fail != want {
			t.Errorf("operation %d: got %q, %v, want %q", i, o.Fail, err, want)
		}
	}
}

func TestHangEndsWithTheFault(t *testing.T) {
	s := newSpace()
	s.setFaults([]Fault{{Op: Read, Kind: Hang, Times: 1}})
	ended := make(chan error)
	go func() {
		_, err := s.begin(t.Context(), Read, "")
		ended <- err
	}()
	if n, err := s.count(t.Context(), Read, 1); err != nil || n != 1 {
		t.Fatalf("counted %d, %v", n, err)
	}
	select {
	case err := <-ended:
		t.Fatalf("it did not hang: %v", err)
	default:
	}
	s.setFaults(nil)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// TestHangOfAnExpiredToken: a good token passes; one that expired, or that nobody knows, hangs until the fault is gone.
func TestHangOfAnExpiredToken(t *testing.T) {
	server := httptest.NewServer(NewServer())
	defer server.Close()
	for _, s := range []step{
		{"PUT", "/spaces/a/tokens/good?seconds=3600", "", 200, ""},
		{"PUT", "/spaces/a/tokens/old?seconds=0", "", 200, ""},
		{"PUT", "/spaces/a/faults", `[{"op": "read", "kind": "hang-expired"}]`, 200, ""},
	} {
		if status, answer := s.take(t, server.URL); status != s.status {
			t.Fatalf("%s: %d %s", s.path, status, answer)
		}
	}
	if err := begin(t.Context(), server.URL, "good"); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	for _, token := range []string{"old", "unknown"} {
		go func() { ended <- begin(t.Context(), server.URL, token) }()
	}
	thrice := step{method: "GET", path: "/spaces/a/operations/read?atleast=3"}
	if status, answer := thrice.take(t, server.URL); answer != "3" {
		t.Fatalf("begun: %d %s", status, answer)
	}
	select {
	case err := <-ended:
		t.Fatalf("it did not hang: %v", err)
	default:
	}
	if status, _ := (step{"PUT", "/spaces/a/faults", `[]`, 200, ""}).take(t, server.URL); status != http.StatusOK {
		t.Fatal(status)
	}
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// begin is an operation of a provider with a token.
func begin(ctx context.Context, url, token string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/spaces/a/operations/read", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}
