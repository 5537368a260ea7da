package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	clocktesting "k8s.io/utils/clock/testing"
)

var now = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// api is an API server that answers what a test says and keeps what it was asked.
type api struct {
	*httptest.Server
	mu      sync.Mutex
	answers map[string]func(w http.ResponseWriter)
	asked   []string
}

func newAPI(t *testing.T) *api {
	t.Helper()
	a := &api{answers: map[string]func(http.ResponseWriter){}}
	a.Server = httptest.NewServer(http.HandlerFunc(a.serve))
	t.Cleanup(a.Close)
	return a
}

func (a *api) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	line := r.Method + " " + r.URL.RequestURI()
	a.asked = append(a.asked, strings.TrimSpace(line+" "+string(body)))
	answer := a.answers[r.Method+" "+r.URL.Path]
	a.mu.Unlock()
	if answer == nil {
		refuse(404, metav1.StatusReasonNotFound, r.URL.Path+" not found")(w)
		return
	}
	answer(w)
}

func (a *api) says(request string, v any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch v := v.(type) {
	case func(http.ResponseWriter):
		a.answers[request] = v
	case string:
		a.answers[request] = func(w http.ResponseWriter) { fmt.Fprint(w, v) }
	default:
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		a.answers[request] = func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(b)
		}
	}
}

func refuse(code int, reason metav1.StatusReason, message string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(metav1.Status{
			TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
			Message: message, Reason: reason, Code: int32(code),
		})
	}
}

func (a *api) did(part string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, line := range a.asked {
		if strings.Contains(line, part) {
			return true
		}
	}
	return false
}

// kubeconfig points at the API, namespace ns.
func (a *api) kubeconfig(t *testing.T) string {
	t.Helper()
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters["c"] = &clientcmdapi.Cluster{Server: a.URL}
	cfg.Contexts["c"] = &clientcmdapi.Context{Cluster: "c", Namespace: "ns"}
	cfg.CurrentContext = "c"
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*cfg, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// result is what a command said.
type result struct {
	out, err string
	failed   error
}

// plumbline runs a command on a terminal on which stdin is typed.
func (a *api) plumbline(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	var out, err bytes.Buffer
	c := New("plumbline", Surroundings{
		In: strings.NewReader(stdin), Out: &out, Err: &err, Terminal: stdin != "",
		Clock: instant{clocktesting.NewFakeClock(now)},
	})
	c.SetArgs(append([]string{"--kubeconfig", a.kubeconfig(t)}, args...))
	failed := c.ExecuteContext(t.Context())
	return result{out.String(), err.String(), failed}
}

// instant is a clock on which waiting takes no time.
type instant struct{ *clocktesting.FakeClock }

func (c instant) After(d time.Duration) <-chan time.Time {
	after := c.FakeClock.After(d)
	c.Step(d)
	return after
}
