package vault

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// node is a server in an election, as one call to the path finds it.
type node struct {
	status   int // of the path
	says     []string
	standby  bool
	unloaded bool // it does not have the mount yet
}

// serveNodes has each call to the path meet the next node, and the last one from then on. What is asked besides is
// answered by the node that the path was asked of.
func serveNodes(t *testing.T, nodes ...node) *server {
	t.Helper()
	var s *server
	s = serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		s.mu.Lock()
		now := nodes[min(max(s.calls["/v1/aws/creds/x"], 1), len(nodes))-1]
		s.mu.Unlock()
		switch path := strings.TrimPrefix(r.URL.Path, "/v1/"); {
		case path == "sys/health" && r.Header.Get("X-Vault-Namespace") != "":
			says(w, 400, "operation unavailable in namespaces")
		case path == "sys/health" && now.standby:
			_, _ = io.WriteString(w, `{"initialized":true,"standby":true}`)
		case path == "sys/health":
			_, _ = io.WriteString(w, `{"initialized":true}`)
		case path == "sys/internal/ui/mounts/aws/creds/x" && now.unloaded:
			says(w, 403, "preflight capability check returned 403")
		case path == "sys/internal/ui/mounts/aws/creds/x":
			_, _ = io.WriteString(w, `{"data":{"path":"aws/"}}`)
		case now.status == http.StatusOK:
			_, _ = io.WriteString(w, `{"data":{"a":"b"}}`)
		case now.status == http.StatusTemporaryRedirect:
			w.Header().Set("Location", r.URL.Path)
			w.WriteHeader(now.status)
		default:
			says(w, now.status, now.says...)
		}
	})
	return s
}

// TestNothingThere: in an election OpenBao says of a path whose mount it has not loaded that there is nothing.
func TestNothingThere(t *testing.T) {
	const noRoute = `no handler for route "aws/creds/x". route entry not found.`
	there, absent := node{status: 200}, node{status: 404}
	unloaded := node{status: 404, unloaded: true}
	standby := node{status: 404, standby: true}
	noMount := node{status: 404, says: []string{noRoute}, unloaded: true}
	for name, test := range map[string]struct {
		nodes []node
		calls int
		says  string // "" when it ends well
	}{
		"the leader says it twice":            {[]node{absent, absent, there}, 2, "not found (404)"},
		"loaded just before it was looked at": {[]node{absent, there}, 2, ""},
		"the mount is not loaded yet":         {[]node{unloaded, unloaded, there}, 3, ""},
		"then it is, and has no such path":    {[]node{unloaded, absent, absent, there}, 3, "not found (404)"},
		"a standby":                           {[]node{standby, standby, there}, 3, ""},
		"an election between the two":         {[]node{absent, {status: 503}, absent, there}, 4, ""},
		"a standby between the two":           {[]node{absent, standby, absent, there}, 4, ""},
		"no such mount":                       {[]node{noMount, noMount, there}, 2, noRoute + " (404)"},
		"no such mount, says a standby":       {[]node{{status: 404, says: []string{noRoute}, standby: true}, there}, 2, ""},
		// One is followed, the second is the next try's.
		"sent from one to the other": {[]node{{status: 307}, {status: 307}, {status: 307}, there}, 4, ""},
	} {
		for verb, ask := range map[string]func(*Client) error{
			"reading": func(c *Client) error { _, err := c.Read(t.Context(), "aws/creds/x", nil); return err },
			"writing to": func(c *Client) error {
				_, err := c.Write(t.Context(), "aws/creds/x", map[string]any{"ttl": "1m"})
				return err
			},
		} {
			t.Run(name+", "+verb, func(t *testing.T) {
				s := serveNodes(t, test.nodes...)
				cfg := config(t, s.URL)
				cfg.Namespace = "team"
				err := ask(loggedIn(t, cfg))
				if test.says == "" && err != nil {
					t.Errorf("got %v", err)
				}
				want := verb + ` aws/creds/x as role "deployer": ` + test.says
				if test.says != "" && (!IsDenied(err) || err.Error() != want) {
					t.Errorf("got %v, want denied: %s", err, want)
				}
				if n := s.calls["/v1/aws/creds/x"]; n != test.calls {
					t.Errorf("asked %d times, want %d", n, test.calls)
				}
			})
		}
	}
}

// TestNothingThereIsNotBelieved: when nobody comes who knows, the server was not available.
func TestNothingThereIsNotBelieved(t *testing.T) {
	for name, test := range map[string]struct {
		node node
		says string
	}{
		"a standby":             {node{status: 404, standby: true}, "not found, and that server does not lead (404)"},
		"a mount never arrives": {node{status: 404, unloaded: true}, "whether it has that mount by now can't be told"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serveNodes(t, test.node)
			_, err := loggedIn(t, config(t, s.URL)).Read(within(t, 100*time.Millisecond), "aws/creds/x", nil)
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Reason != Unavailable || !strings.Contains(e.Message, test.says) {
				t.Errorf("got %v, want unavailable with %q", err, test.says)
			}
			if n := s.calls["/v1/aws/creds/x"]; n < 3 {
				t.Errorf("asked %d times, want again and again", n)
			}
		})
	}
}

// TestValid: a token is asked for, whatever words a server has for one that is gone.
func TestValid(t *testing.T) {
	const lookup, mounts = "/v1/auth/token/lookup-self", "/v1/sys/internal/ui/mounts"
	for name, test := range map[string]struct {
		statuses map[string]int // 200 where none is given
		valid    bool
		asked    []string
		says     string
	}{
		"it looks at itself":     {nil, true, []string{lookup}, ""},
		"it may not":             {map[string]int{lookup: 403}, true, []string{lookup, mounts}, ""},
		"it is gone":             {map[string]int{lookup: 403, mounts: 403}, false, []string{lookup, mounts}, ""},
		"that can't be told":     {map[string]int{lookup: 403, mounts: 400}, false, []string{lookup, mounts}, "(400)"},
		"the server is in doubt": {map[string]int{lookup: 503}, false, []string{lookup}, "Vault at http://"},
	} {
		t.Run(name, func(t *testing.T) {
			var asked []string
			s := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
				if !slices.Contains(asked, r.URL.Path) {
					asked = append(asked, r.URL.Path)
				}
				if status := test.statuses[r.URL.Path]; status != 0 {
					says(w, status, "permission denied")
					return
				}
				_, _ = io.WriteString(w, `{"data":{}}`)
			})
			valid, err := loggedIn(t, config(t, s.URL)).Valid(within(t, 100*time.Millisecond))
			if valid != test.valid || !slices.Equal(asked, test.asked) {
				t.Errorf("got %v after %v, want %v after %v", valid, asked, test.valid, test.asked)
			}
			if (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want %q", err, test.says)
			}
		})
	}
}
