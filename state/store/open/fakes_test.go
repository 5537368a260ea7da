package open

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// fakeCloud is as much of an object store as a few requests need; answer says what differs between the kinds.
type fakeCloud struct {
	mu      sync.Mutex
	objects map[string]object
	answer  func(w http.ResponseWriter, r *http.Request, missing bool)
}

type object struct {
	body   []byte
	header http.Header
}

func serve(t *testing.T, answer func(http.ResponseWriter, *http.Request, bool)) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(&fakeCloud{objects: map[string]object{}, answer: answer})
	t.Cleanup(server.Close)
	return server
}

func (f *fakeCloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := r.URL.Path
	found, ok := f.objects[key]
	switch {
	case r.Method == http.MethodPut && ok && r.Header.Get("If-None-Match") == "*" && f.answer != nil:
		f.answer(w, r, false)
	case r.Method == http.MethodPut:
		body, _ := io.ReadAll(r.Body)
		f.objects[key] = object{body, r.Header}
		w.WriteHeader(http.StatusCreated)
	case !ok && f.answer != nil:
		f.answer(w, r, true)
	case !ok:
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodDelete:
		delete(f.objects, key)
		w.WriteHeader(http.StatusAccepted)
	default:
		maps.Copy(w.Header(), found.header)
		w.Header().Del("Content-Length")
		_, _ = w.Write(found.body)
	}
}

func s3URL(bucket, endpoint string) string {
	query := url.Values{"endpoint": {endpoint}, "region": {"us-east-1"}, "use_path_style": {"true"}}
	return "s3://" + bucket + "?" + query.Encode()
}

// credentials makes a shared file of AWS and has the environment name it.
func credentials(t *testing.T, access, secret string) string {
	t.Helper()
	path := file(t, profile(access, secret))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", path)
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	return path
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	replace(t, path, text)
	return path
}

// replace does it in one step, as the kubelet does with a mounted Secret.
func replace(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func profile(access, secret string) string {
	return "[default]\naws_access_key_id = " + access + "\naws_secret_access_key = " + secret + "\n"
}
