//go:build integration

package driver

import (
	"archive/zip"
	"bytes"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// TestRealTrust: engines get their providers from a mirror whose CA nobody knows but the trusted bundle.
func TestRealTrust(t *testing.T) {
	mirror := httptest.NewTLSServer(networkMirror(t, pinned(t, "provider-time")))
	defer mirror.Close()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: mirror.Certificate().Raw}))
	withEngines(t, func(t *testing.T, b *bench) {
		b.cfg.Params.PluginMirror.URL = mirror.URL + "/"
		b.file("main.tf", "resource \"time_static\" \"now\" {}\n")
		if got := b.run(t.Context()); got.Class.Succeeded() || !strings.Contains(got.Message, "certificate") {
			t.Errorf("without the bundle: %s: %s", got.Class, got.Message)
		}
		b.again()
		b.trust(`ConfigMap "ca", key "ca.crt"`, ca)
		if got := b.run(t.Context()); got.Class != job.Applied {
			t.Errorf("with the bundle: %s: %s", got.Class, got.Message)
		}
	})
}

// networkMirror serves one version of the time provider: see "Provider Network Mirror Protocol".
func networkMirror(t *testing.T, binary string) http.Handler {
	t.Helper()
	content, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := zip.NewWriter(&packed)
	header := &zip.FileHeader{Name: "terraform-provider-time_v0.14.2", Method: zip.Store}
	header.SetMode(0o755)
	w, err := z.CreateHeader(header)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/hashicorp/time/index.json"):
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprint(w, `{"versions": {"0.14.2": {}}}`)
		case strings.HasSuffix(r.URL.Path, "/hashicorp/time/0.14.2.json"):
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(w, `{"archives": {"%s_%s": {"url": "time.zip"}}}`, runtime.GOOS, runtime.GOARCH)
		case strings.HasSuffix(r.URL.Path, "/time.zip"):
			_, _ = w.Write(packed.Bytes())
		default:
			http.NotFound(w, r)
		}
	})
}
