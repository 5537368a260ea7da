package cli

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

const unsavedPath = "/apis/state.plumbline.dev/v1alpha1/namespaces/ns/workspaces/vpn/state/unsaved"

// TestStateUnsaved: what a Run could not save is listed, fetched, and given up with a reason.
func TestStateUnsaved(t *testing.T) {
	a := newAPI(t)
	a.says("GET "+unsavedPath, `{"states": [{"id": "0a", "run": "vpn-1", "serial": 7, "why": "HTTP 413",
		"at": "2026-07-01T11:00:00Z"}]}`)
	a.says("GET "+unsavedPath+"/0a", func(w http.ResponseWriter) {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write([]byte(`{"serial": 7}`))
		_ = z.Close()
		_, _ = w.Write(b.Bytes())
	})
	a.says("DELETE "+unsavedPath+"/0a", `{}`)
	run := func(args ...string) (string, error) {
		t.Helper()
		r := a.plumbline(t, "", args...)
		return r.out, r.failed
	}
	out, err := run("state", "unsaved", "vpn")
	if want := "ID   AGE   RUN     SERIAL   WHY\n0a   60m   vpn-1   7        HTTP 413\n"; err != nil || out != want {
		t.Errorf("got %q, %v", out, err)
	}
	a.says("GET "+unsavedPath, `{"states": [], "made": {"vpn-2": [{"addr": "x.y", "id_key": "id", "id_value": "7"},
		{"addr": "x.z"}]}}`)
	out, err = run("state", "unsaved", "vpn")
	if want := "RUN     MADE, AND IN NO STATE   IMPORT ID\nvpn-2   x.y                     7\n" +
		"vpn-2   x.z                     unknown\n\n"; err != nil || out != want {
		t.Errorf("got %q, %v", out, err)
	}
	file := filepath.Join(t.TempDir(), "state")
	if out, err := run("state", "unsaved", "vpn", "--id", "0a", "-o", file); err != nil {
		t.Errorf("got %q, %v", out, err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != `{"serial": 7}` {
		t.Errorf("fetched %q, %v", b, err)
	}
	if _, err := run("state", "unsaved", "vpn", "--discard", "0a"); err == nil {
		t.Error("given up without a reason")
	}
	if out, err := run("state", "unsaved", "vpn", "--discard", "0a", "--why", "pushed"); err != nil {
		t.Errorf("got %q, %v", out, err)
	}
	if !a.did("DELETE " + unsavedPath + "/0a?why=pushed") {
		t.Errorf("asked %s", a.asked)
	}
}
