package open

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// fakeCloud is as much of an object store as the state service needs. Each kind speaks its own dialect.
type fakeCloud struct {
	mu      sync.Mutex
	objects map[string]object
	// lost is how many writes are done and answered with an error, as by a gateway that gives up.
	lost int
	// gone is a bucket that somebody has removed.
	gone bool
}

type object struct {
	body   []byte
	header http.Header
}

const stamp = "Mon, 02 Jan 2006 15:04:05 GMT"

func serve(t *testing.T, dialect func(*fakeCloud, http.ResponseWriter, *http.Request)) (*fakeCloud, string) {
	t.Helper()
	cloud := &fakeCloud{objects: map[string]object{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cloud.mu.Lock()
		defer cloud.mu.Unlock()
		dialect(cloud, w, r)
	}))
	t.Cleanup(server.Close)
	return cloud, server.URL
}

// put keeps an object, and returns false when its answer is to be lost.
func (c *fakeCloud) put(name string, o object) bool {
	c.objects[name] = o
	c.lost--
	return c.lost < 0
}

func (c *fakeCloud) names(prefix string) []string {
	names := slices.Sorted(maps.Keys(c.objects))
	return slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, prefix) })
}

func (o object) write(w http.ResponseWriter) {
	maps.Copy(w.Header(), o.header)
	w.Header().Set("Content-Length", strconv.Itoa(len(o.body)))
	w.Header().Set("Last-Modified", stamp)
	w.Header().Set("ETag", `"1"`)
	_, _ = w.Write(o.body)
}

// careless is an S3 that doesn't know conditions.
func careless(c *fakeCloud, w http.ResponseWriter, r *http.Request) {
	found, ok := c.objects[r.URL.Path]
	switch {
	case r.Method == http.MethodPut:
		body, _ := io.ReadAll(r.Body)
		c.put(r.URL.Path, object{body: body})
	case !ok:
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodDelete:
		delete(c.objects, r.URL.Path)
		w.WriteHeader(http.StatusNoContent)
	default:
		found.write(w)
	}
}

// azure speaks as Azure Blob Storage does.
func azure(c *fakeCloud, w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/account/container/")
	found, ok := c.objects[name]
	fail := func(status int, code string) {
		w.Header().Set("X-Ms-Error-Code", code)
		w.WriteHeader(status)
	}
	switch {
	case c.gone:
		fail(http.StatusNotFound, "ContainerNotFound")
	case r.URL.Query().Get("comp") == "list":
		fmt.Fprint(w, `<?xml version="1.0"?><EnumerationResults><Blobs>`)
		for _, name := range c.names(r.URL.Query().Get("prefix")) {
			fmt.Fprintf(w, `<Blob><Name>%s</Name><Properties><Last-Modified>%s</Last-Modified>`+
				`<Content-Length>%d</Content-Length></Properties></Blob>`, name, stamp, len(c.objects[name].body))
		}
		fmt.Fprint(w, `</Blobs></EnumerationResults>`)
	case r.Method == http.MethodPut && ok && r.Header.Get("If-None-Match") == "*":
		fail(http.StatusConflict, "BlobAlreadyExists")
	case r.Method == http.MethodPut:
		body, _ := io.ReadAll(r.Body)
		header := http.Header{"X-Ms-Creation-Time": {stamp}, "X-Ms-Meta-Attempt": r.Header["X-Ms-Meta-Attempt"]}
		if !c.put(name, object{body, header}) {
			fail(http.StatusInternalServerError, "InternalError")
			return
		}
		w.WriteHeader(http.StatusCreated)
	case !ok:
		fail(http.StatusNotFound, "BlobNotFound")
	case r.Method == http.MethodDelete:
		delete(c.objects, name)
		w.WriteHeader(http.StatusAccepted)
	default:
		found.write(w)
	}
}

// google speaks as Google Cloud Storage does: JSON, except for reading.
func google(c *fakeCloud, w http.ResponseWriter, r *http.Request) {
	const objects = "/storage/v1/b/bucket/o"
	reply := func(value map[string]any) { _ = json.NewEncoder(w).Encode(value) }
	fail := func(status int) {
		w.WriteHeader(status)
		reply(map[string]any{"error": map[string]any{"code": status, "message": http.StatusText(status)}})
	}
	path := r.URL.Path
	name := strings.TrimPrefix(strings.TrimPrefix(path, objects+"/"), "/bucket/")
	found, ok := c.objects[name]
	switch {
	case c.gone:
		fail(http.StatusNotFound)
	case path == objects && r.Method == http.MethodGet:
		items := []map[string]any{}
		for _, name := range c.names(r.URL.Query().Get("prefix")) {
			items = append(items, map[string]any{"name": name, "size": strconv.Itoa(len(c.objects[name].body))})
		}
		reply(map[string]any{"items": items})
	case r.Method == http.MethodPost:
		if status := c.upload(r); status != http.StatusOK {
			fail(status)
		} else {
			reply(map[string]any{})
		}
	case !ok:
		fail(http.StatusNotFound)
	case r.Method == http.MethodDelete:
		delete(c.objects, name)
		w.WriteHeader(http.StatusNoContent)
	case strings.HasPrefix(path, objects):
		reply(map[string]any{"name": name, "metadata": map[string]string{"attempt": found.header.Get("attempt")}})
	default:
		object{body: found.body}.write(w)
	}
}

// upload takes a request of two parts: what the object is called, and its bytes.
func (c *fakeCloud) upload(r *http.Request) int {
	_, parameters, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	parts := multipart.NewReader(r.Body, parameters["boundary"])
	var about struct {
		Name     string
		Metadata map[string]string
	}
	if part, err := parts.NextPart(); err == nil {
		_ = json.NewDecoder(part).Decode(&about)
	}
	var body []byte
	if part, err := parts.NextPart(); err == nil {
		body, _ = io.ReadAll(part)
	}
	if _, ok := c.objects[about.Name]; ok && r.URL.Query().Get("ifGenerationMatch") == "0" {
		return http.StatusPreconditionFailed
	}
	if !c.put(about.Name, object{body, http.Header{"Attempt": {about.Metadata["attempt"]}}}) {
		return http.StatusServiceUnavailable
	}
	return http.StatusOK
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
