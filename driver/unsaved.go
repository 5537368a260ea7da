package driver

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// A state that could not be saved is kept by the state service, and a Run begins by having it stored: the request goes
// out while the Pod is prepared, and whatever Terraform asks for waits for its answer.

// unsavedState is one that an earlier Run could not save, and that belongs in another backend than the state service.
type unsavedState struct {
	ID     string `json:"id"`
	Run    string `json:"run"`
	Place  string `json:"place"`
	Serial uint64 `json:"serial"`
}

// storing is the request that has states stored which earlier Runs could not save.
type storing struct {
	// done is closed with the answer.
	done chan struct{}
	// left belong in other backends.
	left []unsavedState
	// made is, by Run, what was made and stands in no state.
	made map[string][]item
	err  error
}

// answered tells whether the answer has come.
func (s *storing) answered() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// storeUnsaved sends the request out, unless it is on its way or went well.
func (r *run) storeUnsaved(ctx context.Context) {
	if s := r.storing; s != nil && (!s.answered() || s.err == nil) {
		return
	}
	s := &storing{done: make(chan struct{})}
	r.storing = s
	if r.proxy != nil {
		r.proxy.first.Store(s)
	}
	go func() {
		defer close(s.done)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.client.patience)
		defer cancel()
		s.left, s.made, s.err = r.client.storeUnsaved(ctx)
	}()
}

// nothingUnsaved waits for the answer, and returns why the Run can't go on.
func (r *run) nothingUnsaved(ctx context.Context) error {
	select {
	case <-r.storing.done:
		return r.storing.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *stateClient) storeUnsaved(ctx context.Context) ([]unsavedState, map[string][]item, error) {
	a, err := c.do(ctx, request{method: http.MethodPost, path: "/unsaved"})
	if err != nil {
		return nil, nil, &failure{job.StateUnavailable, err.Error()}
	}
	var told struct {
		States []unsavedState
		Made   map[string][]item
	}
	switch {
	case a.status == http.StatusNoContent, a.status == http.StatusBadRequest: // or it is of a release that keeps none
		return nil, nil, nil
	case a.status == http.StatusLocked:
		return nil, nil, &failure{job.StateLocked, "storing the state that an earlier Run could not save: " + holder(a.body)}
	case a.status == http.StatusConflict:
		return nil, nil, &failure{job.StateUnsaved, fmt.Sprintf("%v. Nothing was done: see plumbline state unsaved", a.err())}
	case a.err() != nil:
		return nil, nil, &failure{cmp.Or(a.class(), job.StateUnavailable), "the state service answered " + a.err().Error()}
	}
	if err := json.Unmarshal(a.body, &told); err != nil {
		return nil, nil, &failure{job.StateUnavailable, "the state service's answer can't be read: " + err.Error()}
	}
	return told.States, told.Made, nil
}

// pushUnsaved stores in the present backend what earlier Runs could not save there.
func (r *run) pushUnsaved(ctx context.Context, p location) error {
	if err := r.nothingUnsaved(ctx); err != nil {
		return err
	}
	place, err := p.Digest()
	if err != nil {
		return err
	}
	var left []unsavedState
	for _, u := range r.storing.left {
		if u.Place != place {
			left = append(left, u)
			continue
		}
		if err := r.pushOne(ctx, u); err != nil {
			return &failure{job.StateUnsaved, fmt.Sprintf("the state that run %s could not save (serial %d) can't be stored in "+
				"%s either: %s. Nothing was done: see plumbline state unsaved", u.Run, u.Serial, p.name, firstLine(err))}
		}
		r.log.printf("== stored what run %s could not save: serial %d", u.Run, u.Serial)
	}
	r.storing.left = left
	return nil
}

func (r *run) pushOne(ctx context.Context, u unsavedState) error {
	path := "/unsaved/" + url.PathEscape(u.ID)
	a, err := r.client.do(ctx, request{method: http.MethodGet, path: path})
	if err = errors.Join(err, a.err()); err != nil {
		return err
	}
	state, err := unpack(a.body)
	if err != nil {
		return err
	}
	file := filepath.Join(r.Paths.Temp, "plumbline-unsaved.tfstate")
	if err := os.WriteFile(file, state, 0o600); err != nil {
		return fmt.Errorf("writing it to a file: %w", err)
	}
	defer os.Remove(file) //nolint:errcheck // it goes with the Pod
	if err := r.interruptible(ctx, func() error { return r.states.StatePush(ctx, file) }); err != nil {
		return err
	}
	return r.client.tell(ctx, request{method: http.MethodDelete, path: path})
}

// noneLeft makes sure that no state waits that belongs in none of the Run's backends.
func (r *run) noneLeft(ctx context.Context) error {
	if err := r.nothingUnsaved(ctx); err != nil {
		return err
	}
	if len(r.storing.left) == 0 {
		return nil
	}
	u := r.storing.left[0]
	return &failure{job.StateUnsaved, fmt.Sprintf("run %s could not save its state (serial %d), which belongs in another "+
		"backend than spec.backend says now: nothing was done. Go back to that one, or see plumbline state unsaved",
		u.Run, u.Serial)}
}

// aside is a state to be kept aside, the place where it belongs, and why it is not there.
type aside struct {
	place string
	state []byte
	why   error
}

// keepAside has the state service keep a state until the next Run stores it.
func (r *run) keepAside(ctx context.Context, u aside) error {
	packed, err := pack(u.state)
	if err != nil {
		return err
	}
	query := url.Values{"why": {firstLine(u.why)}}
	if u.place != "" {
		query.Set("place", u.place)
	}
	ctx, cancel := context.WithTimeout(ctx, r.client.patience)
	defer cancel()
	return r.client.tell(ctx, request{method: http.MethodPut, path: "/unsaved", query: query.Encode(), body: packed})
}

func pack(state []byte) ([]byte, error) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(state)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("packing the state: %w", err)
	}
	return b.Bytes(), nil
}

func unpack(packed []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("unpacking the state: %w", err)
	}
	state, err := io.ReadAll(io.LimitReader(r, maxBody))
	if err != nil {
		return nil, fmt.Errorf("unpacking the state: %w", err)
	}
	return state, nil
}
