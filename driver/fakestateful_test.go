package driver

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// These scenes are about what becomes of the state.
func init() {
	maps.Copy(scenes, map[string]func(c call) int{
		"keeps-to-itself": keepsToItself,
		"replaces-alike":  replacesAlike,
		"makes":           makes,
		"lingers":         lingers,
	})
}

// noteBackend leaves the note of which backend is in use, as init does: that of the override file that comes last.
func noteBackend() {
	backend := os.Getenv(backendVariable)
	files, _ := filepath.Glob("*_override.tf.json")
	if len(files) > 0 && backend == "" {
		var override struct {
			Terraform struct{ Backend map[string]json.RawMessage }
		}
		b, _ := os.ReadFile(slices.Max(files))
		_ = json.Unmarshal(b, &override)
		for backend = range override.Terraform.Backend {
		}
	}
	_ = os.MkdirAll(".terraform", 0o700)
	_ = os.WriteFile(initialized, fmt.Appendf(nil, `{"backend": {"type": %q}}`, backend), 0o600)
}

// keepsToItself has its state somewhere else.
func keepsToItself(c call) int {
	c.say("apply")
	return 0
}

// replacesAlike makes what it has destroyed again, as it was.
func replacesAlike(c call) int {
	c.state("GET", "")
	for _, line := range []string{
		`{"type": "change_summary", "changes": {"add": 1, "remove": 1, "operation": "plan"}, "@message": "Plan"}`,
		`{"type": "apply_complete", "hook": {"resource": {"addr": "a.b"}, "action": "delete"}}`,
		`{"type": "apply_complete", "hook": {"resource": {"addr": "a.b"}, "action": "create"}}`,
		`{"type": "change_summary", "changes": {"add": 1, "remove": 1, "operation": "apply"}, "@message": "Applied"}`,
	} {
		fmt.Println(line)
	}
	return 0
}

// makes creates something each time that it isn't in the state, and counts what it has created.
func makes(c call) int {
	c.state("LOCK", `{"ID": "lock-1", "Who": "engine"}`)
	defer c.state("UNLOCK", `{"ID": "lock-1"}`)
	status, body := c.exchange("GET", "")
	switch {
	case status >= http.StatusBadRequest:
		c.fail("", fmt.Sprintf("HTTP remote state endpoint returned %d", status))
		return 1
	case strings.Contains(body, `"serial"`):
		c.say("nochange")
		return 0
	}
	cloud, _ := os.OpenFile(os.Getenv(cloudVariable), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	_, _ = cloud.WriteString("made\n")
	_ = cloud.Close()
	c.say("apply")
	if status := c.state("POST", stateOf(9)); status != http.StatusOK {
		if os.Getenv(dumpsVariable) == "" {
			_ = os.WriteFile(erroredState, []byte(stateOf(9)), 0o600)
		} else {
			padded := strings.Replace(stateOf(9), "{", `{"pad": "`+strings.Repeat("geheim ", maxMessage/7)+`", `, 1)
			state := strings.Join(strings.Fields(padded), " ")
			fmt.Printf(`{"@level":"info","@message":"Emergency state dump","@module":"terraform.ui",`+
				`"state":%s,"type":"log"}`+"\n", state)
		}
		c.fail("", "Failed to save state")
		return 1
	}
	return 0
}

const (
	// cloudVariable names the file in which an engine notes what it makes.
	cloudVariable = "FAKE_CLOUD"
	// pushesVariable says of a backend that isn't Plumbline's own that it is never written, if set.
	pushesVariable = "FAKE_PUSHES"
	// dumpsVariable has an engine print what it can't save, if set.
	dumpsVariable = "FAKE_DUMPS"
)

// lingers has done everything and ends when it is interrupted.
func lingers(c call) int {
	ch := interrupted()
	c.state("LOCK", `{"ID": "lock-1", "Who": "engine"}`)
	c.state("POST", stateOf(9))
	c.state("UNLOCK", `{"ID": "lock-1"}`)
	c.say("apply")
	<-ch
	return 0
}

// actUnsaved is what the service does with states that could not be saved.
func (s *fakeState) actUnsaved(req *http.Request, id string, body []byte) (int, []byte) {
	n, _ := strconv.Atoi(id)
	switch {
	case req.Method == http.MethodPut:
		s.unsaved = append(s.unsaved, aside{req.URL.Query().Get("place"), body, errors.New(req.URL.Query().Get("why"))})
	case req.Method == http.MethodPost:
		return s.storeUnsaved()
	case n >= len(s.unsaved):
		return http.StatusNotFound, nil
	case req.Method == http.MethodGet:
		return http.StatusOK, s.unsaved[n].state
	default:
		s.unsaved = slices.Delete(s.unsaved, n, n+1)
	}
	return http.StatusOK, nil
}

func (s *fakeState) storeUnsaved() (int, []byte) {
	var left []unsavedState
	var kept []aside
	for n, u := range s.unsaved {
		if u.place == "" {
			s.state, _ = unpack(u.state)
			continue
		}
		kept = append(kept, u)
		left = append(left, unsavedState{ID: strconv.Itoa(n), Run: "vpn-0", Place: u.place, Serial: 9})
	}
	if s.unsaved = kept; len(left)+len(s.made) == 0 {
		return http.StatusNoContent, nil
	}
	b, _ := json.Marshal(map[string]any{"states": left, "made": s.made})
	return http.StatusOK, b
}

// actMade notes what the Run vpn-1 has made, or forgets what another had made.
func (s *fakeState) actMade(other string, body []byte) (int, []byte) {
	if other != "" {
		delete(s.made, other)
		return http.StatusOK, nil
	}
	var items []item
	if json.Unmarshal(body, &items) != nil {
		return http.StatusBadRequest, nil
	}
	if s.made == nil {
		s.made = map[string][]item{}
	}
	const run = "vpn-1"
	if s.made[run] = items; len(items) == 0 {
		delete(s.made, run)
	}
	return http.StatusOK, nil
}
