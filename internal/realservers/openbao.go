package realservers

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// OpenBaoFront is an address of a Vault whose answers are those of an OpenBao where the two differ, or where OpenBao
// gives them more often: of a token that is gone it says no more than that permission is denied; in an election, of a
// path whose mount is not loaded that there is nothing, or that another server is to be asked, which says the same. So
// what OpenBao needs of a client is tested where there is only Vault.
type OpenBaoFront struct {
	// Address is the front's URL. Its certificate is of the Vault's CA.
	Address string

	server   *http.Server
	mu       sync.Mutex
	unloaded string
	left     int
	sent     int
}

// OpenBaoFront listens before a server of the Vault's, given as host:port; a Front of all nodes does as well.
func (v *Vault) OpenBaoFront(ctx context.Context, server string) (*OpenBaoFront, error) {
	folder, err := os.MkdirTemp(v.options.Dir, "openbao-")
	if err != nil {
		return nil, fmt.Errorf("making a folder: %w", err)
	}
	if err := v.ca.issue(folder, v.options.Listen, v.options.DNSNames); err != nil {
		return nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(v.options.Listen, "0"))
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(v.ca.pem)
	f := &OpenBaoFront{Address: "https://" + l.Addr().String()}
	proxy := &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "https", Host: server}) },
		Transport:      &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}},
		ModifyResponse: terse,
	}
	f.server = &http.Server{ReadHeaderTimeout: vaultCallTimeout, Handler: f.elect(proxy)}
	go func() {
		_ = f.server.ServeTLS(l, filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key"))
	}()
	return f, nil
}

// Unload has the next calls to paths of a mount find that there is nothing.
func (f *OpenBaoFront) Unload(mount string, calls int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unloaded, f.left = mount, calls
}

// SendOn has the next calls sent to another server, and the other one do the same: each counts.
func (f *OpenBaoFront) SendOn(calls int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent = calls
}

// Stop ends it.
func (f *OpenBaoFront) Stop() error { return f.server.Close() }

func (f *OpenBaoFront) elect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked, looked := strings.CutPrefix(strings.TrimPrefix(r.URL.Path, "/v1/"), "sys/internal/ui/mounts/")
		switch {
		case f.sends():
			w.Header().Set("Location", f.Address+r.URL.RequestURI())
			w.WriteHeader(http.StatusTemporaryRedirect)
		case !f.lacks(asked, looked):
			next.ServeHTTP(w, r)
		case looked:
			refuse(w, http.StatusForbidden, "preflight capability check returned 403")
		default:
			refuse(w, http.StatusNotFound)
		}
	})
}

func (f *OpenBaoFront) sends() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent--
	return f.sent >= 0
}

// lacks tells whether a path's mount is not loaded; that is counted, unless one only looked.
func (f *OpenBaoFront) lacks(path string, looked bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	lacks := f.left > 0 && strings.HasPrefix(path, f.unloaded+"/")
	if lacks && !looked {
		f.left--
	}
	return lacks
}

func refuse(w http.ResponseWriter, status int, why ...string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": append([]string{}, why...)})
}

// terse takes out what Vault adds where a token is gone.
func terse(resp *http.Response) error {
	if resp.StatusCode != http.StatusForbidden {
		return nil
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("reading an answer: %w", err)
	}
	if bytes.Contains(body, []byte("invalid token")) || bytes.Contains(body, []byte("bad token")) {
		body = []byte(`{"errors":["permission denied"]}`)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}
