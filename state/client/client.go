// Package client is how the controller speaks to the state service: it fetches outputs and removes what is kept of a
// destroyed Workspace. (The driver passes Terraform's own requests on and needs none of this.)
//
// The token's and the CA's files are read for each call: the kubelet replaces them while the process runs.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/plumbline-dev/plumbline/driver/job"
)

var (
	// ErrNotFound is returned for outputs or a Workspace that the service has none of.
	ErrNotFound = errors.New("the state service has none")
	// ErrInUse is returned for a Workspace whose state still has resources or is locked.
	ErrInUse = errors.New("the workspace's state is in use")
	// ErrMissing is returned where a state should be that isn't there; what the service says is for people.
	ErrMissing = errors.New("the state is missing")
	// ErrInvalid is returned for what the service can't make sense of.
	ErrInvalid = errors.New("the request is invalid")
	// ErrUnavailable is returned when the service can't be reached or can't answer now; the call may be repeated.
	ErrUnavailable = errors.New("the state service is unavailable")
	// ErrDenied is returned when the service doesn't know or doesn't trust the caller.
	ErrDenied = errors.New("the state service denies access")
)

const (
	defaultTimeout = 30 * time.Second
	// maxAnswer bounds what is read of an answer.
	maxAnswer = 64 << 20
	idle      = 90 * time.Second
)

// Options say where the service is.
type Options struct {
	// URL is the service's base, such as https://plumbline-state.plumbline-system.svc:8443.
	URL string
	// CAFile is the PEM bundle for its certificate.
	CAFile string
	// TokenFile is the caller's token for audience plumbline-state.
	TokenFile string
	// Timeout bounds each call; 30 s when zero.
	Timeout time.Duration
}

// Client calls the state service. It is safe for concurrent use.
type Client struct {
	Options

	mu        sync.Mutex
	ca        []byte
	transport *http.Transport
}

// New returns a Client; nothing is read or called yet.
func New(o Options) *Client {
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	o.URL = strings.TrimRight(o.URL, "/")
	return &Client{Options: o}
}

// Outputs returns the outputs that the Workspace's last Run has stored, or ErrNotFound.
func (c *Client) Outputs(ctx context.Context, namespace, name string) (map[string]job.Output, error) {
	body, err := c.call(ctx, http.MethodGet, workspacePath(namespace, name)+"/outputs")
	if err != nil {
		return nil, fmt.Errorf("fetching outputs of %s/%s: %w", namespace, name, err)
	}
	var outputs map[string]job.Output
	if err := json.Unmarshal(body, &outputs); err != nil {
		return nil, fmt.Errorf("fetching outputs of %s/%s: decoding: %w", namespace, name, err)
	}
	return outputs, nil
}

// Removal asks for all that is kept of a Workspace to go.
type Removal struct {
	Workspace
	// Want is what its last Run left, and Destroyed the serial that a destruction left which ended well, 0 for none.
	Want      job.Expected
	Destroyed int64
}

// DeleteWorkspace removes all that is kept of a destroyed Workspace. That nothing is kept is not an error, unless
// something should be.
func (c *Client) DeleteWorkspace(ctx context.Context, r Removal) error {
	query := url.Values{"uid": {r.UID}}
	if r.Destroyed > 0 {
		query.Set("destroyed", strconv.FormatInt(r.Destroyed, 10))
	}
	_, err := c.callExpecting(ctx, request{
		method: http.MethodDelete, path: workspacePath(r.Namespace, r.Name) + "?" + query.Encode(), want: r.Want,
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("removing the state of %s/%s: %w", r.Namespace, r.Name, err)
	}
	return nil
}

// RefusedError is returned for what the service won't do, with its reason, for people.
type RefusedError struct{ Text string }

// Error implements error.
func (e *RefusedError) Error() string { return e.Text }

// Adopt has a Workspace take over the state of another UID, or says why not: *RefusedError.
func (c *Client) Adopt(ctx context.Context, w Workspace, from string) error {
	query := url.Values{"uid": {w.UID}, "from": {from}}
	body, err := c.call(ctx, http.MethodPost, workspacePath(w.Namespace, w.Name)+"/adopt?"+query.Encode())
	if errors.Is(err, ErrInUse) || errors.Is(err, ErrNotFound) || errors.Is(err, ErrInvalid) {
		return &RefusedError{said(http.StatusBadRequest, body)}
	}
	if err != nil {
		return fmt.Errorf("taking over the state of UID %s: %w", from, err)
	}
	return nil
}

// DeleteRun removes what a Run has left in the archive. That it left nothing is not an error.
func (c *Client) DeleteRun(ctx context.Context, w Workspace, run string) error {
	path := workspacePath(w.Namespace, w.Name) + "/runs/" + url.PathEscape(run) + "?uid=" + url.QueryEscape(w.UID)
	if _, err := c.call(ctx, http.MethodDelete, path); err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("removing the archive of run %s/%s: %w", w.Namespace, run, err)
	}
	return nil
}

// Run says which Run of a Workspace is meant: names are used again.
type Run struct{ Name, UID string }

// Accessors are those of the Vault tokens that a Run has noted, or ErrNotFound.
func (c *Client) Accessors(ctx context.Context, w Workspace, run Run) ([]string, error) {
	path := workspacePath(w.Namespace, w.Name) + "/runs/" + url.PathEscape(run.Name) + "/" + job.PartAccessors
	body, err := c.call(ctx, http.MethodGet, path+"?runUID="+url.QueryEscape(run.UID))
	if err != nil {
		return nil, fmt.Errorf("fetching the accessors of run %s/%s: %w", w.Namespace, run.Name, err)
	}
	var accessors []string
	if err := json.Unmarshal(body, &accessors); err != nil {
		return nil, fmt.Errorf("fetching the accessors of run %s/%s: decoding: %w", w.Namespace, run.Name, err)
	}
	return accessors, nil
}

// Holder is the Run that holds, or held, a lock.
type Holder struct {
	Namespace string `json:"namespace"`
	Run       string `json:"run"`
	Pod       string `json:"pod"`
}

// HeldError is returned for a lock whose holder isn't known to have ended.
type HeldError struct {
	Holder Holder `json:"holder"`
	// Text says who holds it, since when and what would release it.
	Text string `json:"error"`
}

// Error implements error.
func (e *HeldError) Error() string { return e.Text }

// ReleaseLock frees the lock of a Workspace whose holder has certainly ended, and returns whose it was: nil when it was
// free. That of any other is a *HeldError.
func (c *Client) ReleaseLock(ctx context.Context, namespace, name string) (*Holder, error) {
	body, err := c.call(ctx, http.MethodDelete, workspacePath(namespace, name)+"/lock")
	var held HeldError
	if errors.Is(err, ErrInUse) && json.Unmarshal(body, &held) == nil && held.Text != "" {
		return nil, &held
	}
	var told struct{ Released *Holder }
	if err == nil {
		err = json.Unmarshal(body, &told)
	}
	if err != nil {
		return nil, fmt.Errorf("releasing the lock of %s/%s: %w", namespace, name, err)
	}
	return told.Released, nil
}

// Workspace says whose Run is meant.
type Workspace struct{ Namespace, Name, UID string }

func workspacePath(namespace, name string) string {
	return "/v1/workspaces/" + url.PathEscape(namespace) + "/" + url.PathEscape(name)
}

func (c *Client) call(ctx context.Context, method, path string) ([]byte, error) {
	return c.callExpecting(ctx, request{method: method, path: path})
}

// request is one to the service.
type request struct {
	method, path string
	want         job.Expected
}

func (c *Client) callExpecting(ctx context.Context, r request) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.method, c.URL+r.path, nil)
	if err != nil {
		return nil, fmt.Errorf("building the request: %w", err)
	}
	if want := r.want.String(); want != "" {
		req.Header.Set(job.ExpectedHeader, want)
	}
	token, err := os.ReadFile(c.TokenFile)
	if err != nil {
		return nil, fmt.Errorf("%w: reading the token: %w", ErrUnavailable, err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	transport, err := c.roundTripper()
	if err != nil {
		return nil, err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("%w: reading the answer: %w", ErrUnavailable, err)
	}
	return body, judge(resp.StatusCode, body)
}

// roundTripper keeps connections for as long as the CA's file stays what it is.
func (c *Client) roundTripper() (http.RoundTripper, error) {
	ca, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("%w: reading the CA: %w", ErrUnavailable, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.transport != nil && bytes.Equal(ca, c.ca) {
		return c.transport, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%w: the CA's file holds no certificate", ErrUnavailable)
	}
	if c.transport != nil {
		c.transport.CloseIdleConnections()
	}
	c.ca, c.transport = ca, &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true,
		IdleConnTimeout:   idle,
	}
	return c.transport, nil
}

// judge turns a status into an error.
func judge(status int, body []byte) error {
	kind := ErrUnavailable
	switch status {
	case http.StatusOK:
		return nil
	case http.StatusPreconditionFailed:
		return &MissingError{said(status, body)}
	case http.StatusBadRequest:
		kind = ErrInvalid
	case http.StatusNotFound:
		kind = ErrNotFound
	case http.StatusConflict:
		kind = ErrInUse
	case http.StatusUnauthorized, http.StatusForbidden:
		kind = ErrDenied
	}
	return fmt.Errorf("%w: %d: %s", kind, status, said(status, body))
}

// said is what the service says of a status.
func said(status int, body []byte) string {
	var told struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(body, &told) != nil || told.Error == "" {
		return http.StatusText(status)
	}
	return told.Error
}

// MissingError is ErrMissing in the service's own words.
type MissingError struct{ Text string }

// Error implements error.
func (m *MissingError) Error() string { return m.Text }

// Is makes it an ErrMissing.
func (*MissingError) Is(target error) bool { return target == ErrMissing }
