package driver

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/internal/trust"
)

// tryLimit ends one try at the state service; how long to go on trying is the context's matter.
const tryLimit = 45 * time.Second

// maxBody bounds what is read from either side into memory: a state travels as a whole, so that it can be sent again.
const maxBody = 512 << 20

// stateClient speaks to the state service for one Workspace: it adds the token, and tries again while the service is
// away.
type stateClient struct {
	base  string // of the Workspace
	run   string
	token string // file
	http  *http.Client
	log   *logWriter
	delay time.Duration
	// patience is how long to go on trying for one request of Terraform's.
	patience time.Duration
	// expected says what state there should be; empty where it lies elsewhere.
	expected string
	// store is the ID of the service's store; missing is why it shows no state, if it doesn't.
	store, missing atomic.Pointer[string]
}

type request struct {
	method, path string
	query        string
	body         []byte
}

type answer struct {
	status int
	body   []byte
}

func newStateClient(cfg Config, log *logWriter, trusted []byte) (*stateClient, error) {
	roots, err := trust.Roots([]byte(cfg.Params.State.CA), trusted)
	if err != nil {
		return nil, invalid("the state service: %v", err)
	}
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	p := cfg.Params
	return &stateClient{
		base: strings.TrimSuffix(p.State.URL, "/") +
			"/v1/workspaces/" + url.PathEscape(p.Namespace) + "/" + url.PathEscape(p.Workspace),
		run:   p.Run,
		token: cfg.Paths.Token,
		// No Proxy: the service is in the cluster.
		http:  &http.Client{Transport: &http.Transport{TLSClientConfig: tlsConfig, MaxIdleConnsPerHost: 4}},
		log:   log,
		delay: cfg.RetryDelay, patience: cmp.Or(cfg.StatePatience, stateLimit),
	}, nil
}

// do sends a request until it has an answer that trying again won't better, or ctx ends. An answer that says the
// service is away is still returned, if it is the last.
func (c *stateClient) do(ctx context.Context, r request) (answer, error) {
	var last answer
	var lastErr error
	err := backoff.RetryNotify(func() error {
		a, err := c.once(ctx, r)
		if err != nil {
			if ctx.Err() == nil || lastErr == nil {
				lastErr = err // what was wrong is worth more than that time is up
			}
			return err
		}
		last = a
		if away(a.status) {
			return a.err()
		}
		return nil
	}, backoff.WithContext(delays(c.delay), ctx), func(err error, wait time.Duration) {
		c.log.printf("The state service does not answer (%v); trying again in %s", err, wait.Round(100*time.Millisecond))
	})
	if err != nil && last.status == 0 {
		return answer{}, fmt.Errorf("asking the state service: %w", cmp.Or(lastErr, err))
	}
	return last, nil
}

func away(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

func (c *stateClient) once(ctx context.Context, r request) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, tryLimit)
	defer cancel()
	address := c.base + r.path
	if r.query != "" {
		address += "?" + r.query
	}
	req, err := http.NewRequestWithContext(ctx, r.method, address, bytes.NewReader(r.body))
	if err != nil {
		return answer{}, backoff.Permanent(err)
	}
	// The kubelet renews the token in place.
	token, err := os.ReadFile(c.token)
	if err != nil {
		return answer{}, backoff.Permanent(fmt.Errorf("reading token: %w", err))
	}
	c.log.secrets.add(string(token))
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	req.Header.Set("Content-Type", "application/json")
	if c.expected != "" && r.path == "/state" {
		req.Header.Set(job.ExpectedHeader, c.expected)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return answer{}, err
	}
	a := answer{resp.StatusCode, body}
	c.note(resp.Header.Get(job.StoreHeader), a)
	return a, nil
}

// err is what a bad answer says, or nil for a good one.
func (a answer) err() error {
	if a.status < 300 {
		return nil
	}
	var said struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(a.body, &said) != nil || said.Error == "" {
		said.Error = http.StatusText(a.status)
	}
	return &refusal{a.status, said.Error}
}

// class is the state service's own word for a bad answer that trying again won't better; empty when it has none.
func (a answer) class() job.Class {
	var said struct {
		Reason job.Class `json:"reason"`
	}
	if a.status < http.StatusBadRequest || json.Unmarshal(a.body, &said) != nil || said.Reason.Policy() != job.Hold {
		return ""
	}
	return said.Reason
}

// refusal is a bad answer of the state service.
type refusal struct {
	status int
	said   string
}

func (r *refusal) Error() string { return fmt.Sprintf("HTTP %d: %s", r.status, r.said) }

// tell sends a request of which only the success matters.
func (c *stateClient) tell(ctx context.Context, r request) error {
	a, err := c.do(ctx, r)
	if err != nil {
		return err
	}
	return a.err()
}

func (c *stateClient) putOutputs(ctx context.Context, outputs map[string]job.Output) error {
	b, err := json.Marshal(outputs)
	if err != nil {
		return fmt.Errorf("encoding outputs: %w", err)
	}
	a, err := c.do(ctx, request{method: http.MethodPut, path: "/outputs", body: b})
	if err = cmp.Or(err, a.err()); err != nil {
		return &failure{cmp.Or(a.class(), job.StateUnavailable), fmt.Sprintf("sending outputs: %v", err)}
	}
	return nil
}

// hasOutputs tells whether the service has outputs of this digest already. Not knowing is a no: they are sent again.
func (c *stateClient) hasOutputs(ctx context.Context, digest string) bool {
	a, err := c.do(ctx, request{method: http.MethodGet, path: "/outputs"})
	if err != nil || a.status != http.StatusOK {
		return false
	}
	var outputs map[string]job.Output
	if json.Unmarshal(a.body, &outputs) != nil {
		return false
	}
	stored, err := job.DigestOutputs(job.SecretData(outputs))
	return err == nil && stored == digest
}

func (c *stateClient) putResult(ctx context.Context, result []byte) error {
	return c.tell(ctx, request{method: http.MethodPut, path: c.runPath() + "/" + job.PartResult, body: result})
}

// putAccessors notes by which accessors the Run's Vault tokens can be revoked.
func (c *stateClient) putAccessors(ctx context.Context, accessors []string) error {
	b, err := json.Marshal(accessors)
	if err != nil {
		return fmt.Errorf("encoding accessors: %w", err)
	}
	return c.tell(ctx, request{method: http.MethodPut, path: c.runPath() + "/" + job.PartAccessors, body: b})
}
