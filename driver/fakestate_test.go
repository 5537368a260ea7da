package driver

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/plumbline-dev/plumbline/driver/job"
)

const testToken = "token-of-the-pod"

// fakeState is the state service of one Workspace.
type fakeState struct {
	*httptest.Server
	mu      sync.Mutex
	state   []byte
	lock    string
	outputs map[string]job.Output
	results []job.Result
	asked   []string
	// chunks are the archived pieces of the log by number, as they were packed; parts what else was archived.
	chunks map[int][]byte
	parts  map[string][]byte
	// unsaved are the states that wait to be stored.
	unsaved []aside
	// made is what Runs have noted that they have made.
	made map[string][]item
	// answer, if set, may answer in place of the service: it returns a status, or 0.
	answer func(method, path string, nth int) int
	// reason, if set, stands in such an answer.
	reason job.Class
	// missing, if set, is why no state is shown; expects is what the last request for one expected.
	missing, expects string
}

func newFakeState(t *testing.T) *fakeState {
	s := &fakeState{chunks: map[int][]byte{}, parts: map[string][]byte{}}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *fakeState) ca() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

func (s *fakeState) serve(w http.ResponseWriter, req *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, _ := io.ReadAll(req.Body)
	path, ok := strings.CutPrefix(req.URL.Path, "/v1/workspaces/infra/vpn")
	if !ok {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	if req.Header.Get("Authorization") != "Bearer "+testToken {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	s.asked = append(s.asked, req.Method+" "+path)
	if s.answer != nil {
		if status := s.answer(req.Method, path, s.count(req.Method+" "+path)); status != 0 {
			w.WriteHeader(status)
			_, _ = fmt.Fprintf(w, `{"error": "told to answer %d", "reason": %q}`, status, s.reason)
			return
		}
	}
	status, answer := s.act(req, path, body)
	if path == "/state" && req.Method == http.MethodGet {
		s.expects = req.Header.Get(job.ExpectedHeader)
		if s.missing != "" {
			status, answer = http.StatusPreconditionFailed, fmt.Appendf(nil, `{"error":%q,"reason":"StateMissing"}`, s.missing)
		}
	}
	w.Header().Set(job.StoreHeader, "store-1")
	w.WriteHeader(status)
	_, _ = w.Write(answer)
}

func (s *fakeState) act(req *http.Request, path string, body []byte) (int, []byte) {
	switch path {
	case "/state":
		return s.actState(req.Method, req.URL.Query().Get("ID"), body)
	case "/outputs":
		return s.actOutputs(req.Method, body)
	case "/runs/vpn-1/result":
		r, err := job.Parse(string(body))
		if err != nil || req.Method != http.MethodPut {
			return http.StatusBadRequest, nil
		}
		s.results = append(s.results, r)
		return http.StatusOK, nil
	}
	if run, ok := strings.CutPrefix(path, "/made"); ok {
		return s.actMade(strings.TrimPrefix(run, "/"), body)
	}
	if id, ok := strings.CutPrefix(path, "/unsaved"); ok {
		return s.actUnsaved(req, strings.TrimPrefix(id, "/"), body)
	}
	if part, ok := strings.CutPrefix(path, "/runs/vpn-1/"); ok && req.Method == http.MethodPut {
		return s.actArchive(part, req.URL.Query().Get("drop"), body), nil
	}
	return http.StatusNotFound, nil
}

func (s *fakeState) actArchive(part, drop string, body []byte) int {
	number, ok := strings.CutPrefix(part, "log/")
	if !ok {
		s.parts[part] = body
		return http.StatusOK
	}
	n, err := strconv.Atoi(number)
	if _, bad := job.UnpackChunk(body); err != nil || bad != nil || len(body) > job.MaxPackedChunk {
		return http.StatusBadRequest
	}
	s.chunks[n] = body
	if drop != "" {
		var from, to int
		if _, err := fmt.Sscanf(drop, "%d-%d", &from, &to); err != nil {
			return http.StatusBadRequest
		}
		maps.DeleteFunc(s.chunks, func(n int, _ []byte) bool { return from <= n && n < to })
	}
	return http.StatusOK
}

// archivedLog puts the archived pieces together, with "<n missing>" for gaps.
func (s *fakeState) archivedLog() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	at := int64(0)
	for _, n := range slices.Sorted(maps.Keys(s.chunks)) {
		c, err := job.UnpackChunk(s.chunks[n])
		if err != nil {
			panic(err)
		}
		if c.Offset > at {
			fmt.Fprintf(&b, "<%d missing>", c.Offset-at)
		}
		b.Write(c.Text)
		at = c.Offset + int64(len(c.Text))
	}
	return b.String()
}

func (s *fakeState) actState(method, id string, body []byte) (int, []byte) {
	switch {
	case method == http.MethodGet && s.state == nil:
		return http.StatusNoContent, nil
	case method == http.MethodGet:
		return http.StatusOK, s.state
	case method == "LOCK":
		return s.actLock(body)
	case method == "UNLOCK":
		s.lock = ""
	case s.lock == "" || lockID([]byte(s.lock)) != id:
		return http.StatusConflict, []byte(`{"error": "the lock is not yours"}`)
	default:
		s.state = body
	}
	return http.StatusOK, nil
}

func (s *fakeState) actLock(body []byte) (int, []byte) {
	if s.lock != "" && lockID([]byte(s.lock)) != lockID(body) {
		return http.StatusLocked, []byte(s.lock)
	}
	s.lock = string(body)
	return http.StatusOK, nil
}

func (s *fakeState) actOutputs(method string, body []byte) (int, []byte) {
	switch {
	case method == http.MethodPut:
		s.outputs = nil
		if json.Unmarshal(body, &s.outputs) != nil {
			return http.StatusBadRequest, nil
		}
		return http.StatusOK, nil
	case s.outputs == nil:
		return http.StatusNotFound, nil
	}
	b, _ := json.Marshal(s.outputs)
	return http.StatusOK, b
}

func (s *fakeState) count(what string) int {
	n := 0
	for _, a := range s.asked {
		if a == what {
			n++
		}
	}
	return n
}
