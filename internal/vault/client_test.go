package vault

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openbao/openbao/api/v2"

	"github.com/plumbline-dev/plumbline/internal/testkit"
)

const (
	jwt   = "header.payload.signature"
	token = "hvs.the-token"
)

// server answers as Vault does; answer decides, and counts are of the calls to each path.
type server struct {
	*httptest.Server
	mu     sync.Mutex
	calls  map[string]int
	answer func(w http.ResponseWriter, r *http.Request, n int)
}

func serve(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, n int)) *server {
	t.Helper()
	s := &server{calls: map[string]int{}, answer: answer}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.calls[r.URL.Path]++
		n := s.calls[r.URL.Path]
		s.mu.Unlock()
		s.answer(w, r, n)
	}))
	t.Cleanup(s.Close)
	return s
}

func config(t *testing.T, address string) Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(jwt+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return Config{
		Address: address, AuthPath: "auth/jwt", Role: "deployer", TokenFile: file, RetryDelay: time.Millisecond,
		Log: (&testkit.Log{}).Printf,
	}
}

func client(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func loggedIn(t *testing.T, cfg Config) *Client {
	t.Helper()
	c := client(t, cfg)
	c.api.SetToken(token)
	return c
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func says(w http.ResponseWriter, status int, errs ...string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": errs})
}

func TestWhatPassesIsRiddenOut(t *testing.T) {
	for name, fails := range map[string]func(w http.ResponseWriter, r *http.Request){
		"sealed":           func(w http.ResponseWriter, _ *http.Request) { says(w, 503, "Vault is sealed") },
		"a standby":        func(w http.ResponseWriter, _ *http.Request) { says(w, 429) },
		"a DR secondary":   func(w http.ResponseWriter, _ *http.Request) { says(w, 472) },
		"a perf standby":   func(w http.ResponseWriter, _ *http.Request) { says(w, 473) },
		"one that is late": func(w http.ResponseWriter, _ *http.Request) { says(w, 412, "required index state not present") },
		"without a leader": func(w http.ResponseWriter, _ *http.Request) {
			says(w, 500, "local node not active but active cluster node not found")
		},
		"an internal error": func(w http.ResponseWriter, _ *http.Request) { says(w, 500, "internal error") },
		"a bad gateway": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = io.WriteString(w, "<html>\n<body>bad</body>\n</html>")
		},
		"an election told as a bad request": func(w http.ResponseWriter, _ *http.Request) {
			says(w, 400, "node is not the leader")
		},
		"keys that can't be fetched": func(w http.ResponseWriter, _ *http.Request) {
			says(w, 400, "error validating token: fetching keys: dial tcp 10.0.0.1:443: connect: connection refused")
		},
		"half an answer": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"data":`) },
		"no answer at all": func(http.ResponseWriter, *http.Request) {
			panic(http.ErrAbortHandler)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(w http.ResponseWriter, r *http.Request, n int) {
				if n < 3 {
					fails(w, r)
					return
				}
				_, _ = io.WriteString(w, `{"data":{"a":"b"}}`)
			})
			cfg, log := config(t, s.URL), &testkit.Log{}
			cfg.Log = log.Printf
			secret, err := loggedIn(t, cfg).Read(t.Context(), "aws/creds/x", nil)
			if err != nil || secret.Data["a"] != "b" {
				t.Fatalf("got %v, %v", secret, err)
			}
			if !strings.Contains(log.String(), "reading aws/creds/x failed (") || strings.Contains(log.String(), token) {
				t.Errorf("logged %q", log)
			}
		})
	}
}

func TestWhatIsRefusedIsToldAtOnce(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		says   []string
		want   string
	}{
		"a path that the policy lacks": {
			403, []string{"1 error occurred:\n\t* permission denied\n\n"},
			`reading aws/creds/x as role "deployer": permission denied (403)`,
		},
		"a role that is none": {
			400, []string{`Role "x" not found`}, `reading aws/creds/x as role "deployer": Role "x" not found (400)`,
		},
		"a server that repeats the token": {
			403, []string{"bad token " + token}, `reading aws/creds/x as role "deployer": bad token (hidden) (403)`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(w http.ResponseWriter, _ *http.Request, _ int) { says(w, test.status, test.says...) })
			_, err := loggedIn(t, config(t, s.URL)).Read(t.Context(), "aws/creds/x", nil)
			if !IsDenied(err) || err.Error() != test.want {
				t.Errorf("got %v, want denied: %s", err, test.want)
			}
			if n := s.calls["/v1/aws/creds/x"]; n != 1 {
				t.Errorf("asked %d times, want once", n)
			}
		})
	}
}

func TestLogin(t *testing.T) {
	good := `{"auth":{"client_token":"` + token + `","accessor":"acc","lease_duration":60,"renewable":true}}`
	for name, test := range map[string]struct {
		answer func(w http.ResponseWriter, n int)
		calls  int
		says   string // "" when it ends well
	}{
		"at once": {func(w http.ResponseWriter, _ int) { _, _ = io.WriteString(w, good) }, 1, ""},
		// What the kubernetes mount says when the API server behind it is away, and when the token is not good.
		"refused without a reason, for a moment": {func(w http.ResponseWriter, n int) {
			if n < maxRefusals {
				says(w, 403, "permission denied")
				return
			}
			_, _ = io.WriteString(w, good)
		}, maxRefusals, ""},
		"refused without a reason": {
			func(w http.ResponseWriter, _ int) { says(w, 403, "permission denied") }, maxRefusals, "permission denied (403)",
		},
		"refused with a reason": {
			func(w http.ResponseWriter, _ int) { says(w, 403, "namespace not authorized") }, 1, "namespace not authorized",
		},
		"an unknown role": {
			func(w http.ResponseWriter, _ int) { says(w, 400, `invalid role name "deployer"`) }, 1, "invalid role name",
		},
		"the token is repeated": {
			func(w http.ResponseWriter, _ int) { says(w, 400, "no good: "+jwt) }, 1, "no good: (hidden)",
		},
		"answered without a token": {
			func(w http.ResponseWriter, _ int) { _, _ = io.WriteString(w, `{}`) }, maxRefusals, "no token in it",
		},
		"answered without a token, once": {func(w http.ResponseWriter, n int) {
			if n == 1 {
				w.WriteHeader(http.StatusNoContent)
				return
			}
			_, _ = io.WriteString(w, good)
		}, 2, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var body map[string]string
			s := serve(t, func(w http.ResponseWriter, r *http.Request, n int) {
				if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
					t.Error(err)
				}
				test.answer(w, n)
			})
			auth, err := client(t, config(t, s.URL)).Login(t.Context())
			if test.says != "" {
				wantLoginDenied(t, err, test.says)
			} else if err != nil || auth.Accessor != "acc" {
				t.Errorf("got %v, %v", auth, err)
			}
			if n := s.calls["/v1/auth/jwt/login"]; n != test.calls {
				t.Errorf("asked %d times, want %d", n, test.calls)
			}
			if body["jwt"] != jwt || body["role"] != "deployer" {
				t.Errorf("sent %v", body)
			}
		})
	}
}

// wantLoginDenied fails unless a login was denied, and the error says why, where and as whom.
func wantLoginDenied(t *testing.T, err error, why string) {
	t.Helper()
	if !IsDenied(err) || !strings.Contains(err.Error(), why) ||
		!strings.Contains(err.Error(), `logging in at auth/jwt as role "deployer"`) {
		t.Errorf("got %v, want denied with %q", err, why)
	}
}

// In the end the address and the last cause are told, not that time is up.
func TestWhatDoesNotPassInTimeIsUnavailable(t *testing.T) {
	sealed := serve(t, func(w http.ResponseWriter, _ *http.Request, _ int) { says(w, 503, "Vault is sealed") })
	silent := serve(t, func(_ http.ResponseWriter, r *http.Request, _ int) { <-r.Context().Done() })
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + l.Addr().String()
	_ = l.Close()
	for name, test := range map[string]struct{ address, says string }{
		"sealed":                  {sealed.URL, "reading aws/creds/x: Vault is sealed (503)"},
		"never answers":           {silent.URL, "no answer in time"},
		"nobody listens":          {nobody, "connection refused"},
		"an untrusted server":     {secure.URL, "its certificate is not trusted: x509: "},
		"an address that is none": {"http://[::1", "that is no address"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := New(config(t, test.address))
			if err == nil {
				c.api.SetToken(token)
				_, err = c.Read(within(t, 300*time.Millisecond), "aws/creds/x", nil)
			}
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Reason != Unavailable || !strings.Contains(e.Message, test.says) {
				t.Fatalf("got %v, want unavailable with %q", err, test.says)
			}
			if strings.Count(e.Message, "(503)") > 1 || !strings.Contains(e.Message, test.address) ||
				strings.Contains(e.Message, token) {
				t.Errorf("got %v, want the address and no token", err)
			}
		})
	}
}

// A certificate that is not trusted will not be later either: it is told with the first try.
func TestTrust(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"data":{}}`)
	}))
	defer s.Close()
	cfg := config(t, s.URL)
	if _, err := loggedIn(t, cfg).Read(t.Context(), "a", nil); err == nil || IsDenied(err) {
		t.Errorf("without its CA: got %v, want unavailable", err)
	}
	cfg.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if _, err := loggedIn(t, cfg).Read(t.Context(), "a", nil); err != nil {
		t.Errorf("with its CA: got %v", err)
	}
	cfg.CA, cfg.Trusted = nil, cfg.CA
	if _, err := loggedIn(t, cfg).Read(t.Context(), "a", nil); err != nil {
		t.Errorf("with its CA among those that are trusted beside the system's: got %v", err)
	}
	cfg.CA = []byte("none")
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "no certificate in it") {
		t.Errorf("with a CA that is none: got %v", err)
	}
}

// A server that takes a call and never answers costs one try, not the whole time.
func TestASilentServerIsAskedAgain(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request, n int) {
		if n == 1 {
			<-r.Context().Done()
			return
		}
		_, _ = io.WriteString(w, `{"data":{}}`)
	})
	c := loggedIn(t, config(t, s.URL))
	once := func(ctx context.Context) (*api.Secret, error) { return c.read(ctx, "a", nil) }
	a := &attempts{client: c, limit: 50 * time.Millisecond, call: call{"reading a", "a", once}}
	if _, err := a.once(t.Context()); err == nil || err.Error() != "no answer in time" {
		t.Errorf("the first time: got %v", err)
	}
	if _, err := a.once(t.Context()); err != nil || a.limit != 100*time.Millisecond {
		t.Errorf("the second time: got %v, and %s for the next", err, a.limit)
	}
}

func TestTheEnvironmentIsNotRead(t *testing.T) {
	var got http.Header
	s := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		got = r.Header
		_, _ = io.WriteString(w, `{"data":{}}`)
	})
	for _, prefix := range []string{"VAULT_", "BAO_"} {
		for name, value := range map[string]string{
			"ADDR": "http://127.0.0.1:1", "TOKEN": "from the environment", "NAMESPACE": "from-the-environment",
			"SKIP_VERIFY": "true", "CACERT": "/none", "MAX_RETRIES": "9", "WRAP_TTL": "5m",
		} {
			t.Setenv(prefix+name, value)
		}
	}
	cfg := config(t, s.URL)
	first := client(t, cfg)
	second, err := first.With("another")
	if err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]*Client{"": first, "another": second} {
		if _, err := c.Read(t.Context(), "a", nil); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{"X-Vault-Token": want, "X-Vault-Namespace": "", "X-Vault-Wrap-TTL": ""} {
			if value := got.Get(name); value != want {
				t.Errorf("%s: %q, want %q", name, value, want)
			}
		}
	}
	cfg.Namespace = "team"
	second, err = loggedIn(t, cfg).With("another")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := second.Read(t.Context(), "a", nil); err != nil || got.Get("X-Vault-Namespace") != "team" {
		t.Errorf("got %v and namespace %q", err, got.Get("X-Vault-Namespace"))
	}
}

func TestParametersOfARead(t *testing.T) {
	var query string
	s := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		query = r.URL.RawQuery
		_, _ = io.WriteString(w, `{"data":{}}`)
	})
	_, err := loggedIn(t, config(t, s.URL)).Read(t.Context(), "aws/creds/x",
		map[string]any{"ttl": "15m", "n": 3, "list": []any{"a", "b"}})
	if want := "list=a&list=b&n=3&ttl=15m"; err != nil || query != want {
		t.Errorf("got %q, %v, want %q", query, err, want)
	}
}
