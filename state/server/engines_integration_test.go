//go:build integration

package server

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/internal/tools"
	"github.com/plumbline-dev/plumbline/state/store/memory"
)

// An engine with its work folder, in the place of a runner Pod: what adds the token in between is the driver's part.
type engine struct {
	t      *testing.T
	binary string
	folder string
	server *Server
	url    string
}

const twoThings = `terraform {
  backend "http" {}
}
resource "terraform_data" "a" { input = "x" }
resource "terraform_data" "b" { input = "y" }
`

func withEngines(t *testing.T, test func(t *testing.T, e *engine)) {
	tofu, err := tools.Path(t.Context(), t.Logf, "tofu", "")
	if err != nil {
		t.Fatal(err)
	}
	binaries := map[string]string{"tofu": tofu}
	if path, err := exec.LookPath("terraform"); err == nil {
		binaries["terraform"] = path
	}
	for name, binary := range binaries {
		t.Run(name, func(t *testing.T) {
			e := &engine{t: t, binary: binary, folder: t.TempDir()}
			e.server = newServer(&gate{}, &memory.Store{}, slog.New(slog.DiscardHandler))
			api := e.server.Handler()
			front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.Header.Set("Authorization", "Bearer "+oneRun)
				api.ServeHTTP(w, r)
			}))
			t.Cleanup(front.Close)
			e.url = front.URL + st
			e.write("main.tf", twoThings)
			e.succeeds("init", "-input=false")
			test(t, e)
		})
	}
}

func (e *engine) write(name, text string) {
	e.t.Helper()
	if err := os.WriteFile(filepath.Join(e.folder, name), []byte(text), 0o600); err != nil {
		e.t.Fatal(err)
	}
}

// run runs a command as the driver does, with the backend's configuration in the environment.
func (e *engine) run(args ...string) (string, error) {
	cmd := exec.CommandContext(e.t.Context(), e.binary, append(args, "-no-color")...)
	if args[0] == "workspace" || args[0] == "force-unlock" || args[0] == "state" {
		cmd.Args = cmd.Args[:len(cmd.Args)-1] // these know no such flag, and no colours where nobody looks
	}
	cmd.Dir = e.folder
	cmd.Env = []string{
		"PATH=/usr/bin:/bin", "HOME=" + e.folder, "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1", "TF_HTTP_RETRY_MAX=0",
		"TF_HTTP_ADDRESS=" + e.url, "TF_HTTP_LOCK_ADDRESS=" + e.url, "TF_HTTP_UNLOCK_ADDRESS=" + e.url,
		"TF_HTTP_LOCK_METHOD=LOCK", "TF_HTTP_UNLOCK_METHOD=UNLOCK",
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (e *engine) succeeds(args ...string) string {
	e.t.Helper()
	out, err := e.run(args...)
	if err != nil {
		e.t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return out
}

// fails expects a command to fail and to say all of these.
func (e *engine) fails(says []string, args ...string) {
	e.t.Helper()
	out, err := e.run(args...)
	flat := strings.Join(strings.Fields(out), " ")
	for _, want := range says {
		if err == nil || !strings.Contains(flat, want) {
			e.t.Errorf("%v: error %v, want %q in\n%s", args, err, want, out)
		}
	}
}

// serial is the newest state's, as the service keeps it.
func (e *engine) serial() uint64 {
	e.t.Helper()
	v, _, err := e.server.Service.Newest(e.t.Context(), "ns-ws")
	if err != nil {
		e.t.Fatal(err)
	}
	return v.Serial
}

// TestEnginesAtWork: apply, every state subcommand that reads or writes, and destroy, over the http backend.
func TestEnginesAtWork(t *testing.T) {
	withEngines(t, func(t *testing.T, e *engine) {
		e.succeeds("apply", "-auto-approve", "-input=false")
		if got := e.succeeds("state", "list"); got != "terraform_data.a\nterraform_data.b\n" {
			t.Errorf("state list: %q", got)
		}
		before := e.serial()
		e.succeeds("state", "mv", "terraform_data.b", "terraform_data.c")
		e.succeeds("state", "rm", "terraform_data.c")
		if after := e.serial(); after <= before {
			t.Errorf("serial %d after %d", after, before)
		}
		pulled := e.succeeds("state", "pull")
		e.write("old.tfstate", pulled)
		e.succeeds("apply", "-auto-approve", "-input=false")
		e.fails([]string{"serial"}, "state", "push", "old.tfstate")
		var other map[string]any
		if err := json.Unmarshal([]byte(pulled), &other); err != nil {
			t.Fatal(err)
		}
		other["lineage"], other["serial"] = "another", 1000
		text, err := json.Marshal(other)
		if err != nil {
			t.Fatal(err)
		}
		e.write("other.tfstate", string(text))
		e.fails([]string{"lineage"}, "state", "push", "other.tfstate")
		e.succeeds("destroy", "-auto-approve", "-input=false")
		if got := e.succeeds("state", "list"); got != "" {
			t.Errorf("after a destroy: %q", got)
		}
	})
}

// TestEnginesMeetALock: it is shown by its ID (of the holder's own words the backend shows nothing, which is why the
// driver adds them); only their own lock is given up by force.
func TestEnginesMeetALock(t *testing.T) {
	withEngines(t, func(t *testing.T, e *engine) {
		api := e.server.Handler()
		const theirs = `{"ID":"theirs","Operation":"OperationTypeApply","Info":"","Who":"ann@laptop","Version":"1.11.4",` +
			`"Created":"2026-01-02T03:04:05Z","Path":""}`
		do(t, api, exchange{token: other, method: "LOCK", path: st, body: theirs, status: http.StatusOK})
		e.fails([]string{"HTTP remote state already locked: ID=theirs"}, "apply", "-auto-approve", "-input=false")
		e.fails([]string{"409"}, "force-unlock", "-force", "theirs")
		do(t, api, exchange{token: other, method: "UNLOCK", path: st, body: theirs, status: http.StatusOK})
		do(t, api, exchange{token: oneRun, method: "LOCK", path: st, body: lock1, status: http.StatusOK})
		e.fails([]string{"HTTP remote state already locked: ID=1"}, "apply", "-auto-approve", "-input=false")
		e.succeeds("force-unlock", "-force", "1")
		e.succeeds("apply", "-auto-approve", "-input=false")
	})
}

// TestEnginesHaveNoWorkspaces: one Workspace is one state; Terraform's own workspaces are refused by the backend.
func TestEnginesHaveNoWorkspaces(t *testing.T) {
	withEngines(t, func(_ *testing.T, e *engine) {
		e.fails([]string{"workspaces not supported"}, "workspace", "new", "x")
	})
}
