package server

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // Terraform's http backend sends this checksum; nothing rests on its strength.
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/state"
)

// call is a request by somebody who may make it.
type call struct {
	id   Identity
	uid  string                    // of the Workspace
	user authenticationv1.UserInfo // a person's
	run  Run                       // that a person's path names, by itself
	r    *http.Request
	body []byte
	// told is what the handler adds to the audit's line.
	told *told
	// held is what the call has of the room for large bodies, and shares how often it took some of it: both are given back
	// when the call has ended.
	held   int64
	shares int
}

// told is what a caller said about a request, beside what it asks for.
type told struct{ why string }

// answer is what a handler has to say.
type answer struct {
	status int
	body   []byte
	// stream is sent in place of the body, as it is read.
	stream io.Reader
	// kind is the body's content type; JSON when empty.
	kind string
	// version is the one of the state that was read or written, for the audit line.
	version state.Version
}

var done = answer{status: http.StatusOK}

// getState gives the state to a Run, but not past one that has to be stored first: what is missing in the older one
// would be made again.
func (s *Server) getState(ctx context.Context, c call) (answer, error) {
	if err := s.Service.NoneUnsaved(ctx, c.uid); err != nil {
		return answer{}, err
	}
	want, err := c.expected()
	if err != nil {
		return answer{}, err
	}
	v, data, err := s.Service.NewestExpected(ctx, c.owner(), want)
	if errors.Is(err, state.ErrNotFound) {
		return answer{status: http.StatusNoContent}, nil
	}
	return answer{status: http.StatusOK, body: data, version: v}, err
}

func (s *Server) postState(ctx context.Context, c call) (answer, error) {
	if err := checkMD5(c.r.Header.Get("Content-MD5"), c.body); err != nil {
		return answer{}, err
	}
	if err := s.Service.Claim(ctx, c.owner()); err != nil {
		return answer{}, err
	}
	claim := state.Claim{Holder: c.id.holder(), LockID: c.r.URL.Query().Get("ID")}
	v, err := s.Service.Write(ctx, c.uid, claim, c.body)
	return answer{status: http.StatusOK, version: v}, err
}

func (s *Server) deleteState(ctx context.Context, c call) (answer, error) {
	v, err := s.Service.Remove(ctx, c.uid, c.id.holder())
	return answer{status: http.StatusOK, version: v}, err
}

// lock answers a conflict with the holder's own lock info, which Terraform shows.
func (s *Server) lock(ctx context.Context, c call) (answer, error) {
	err := s.Service.Lock(ctx, c.uid, c.id.holder(), c.body)
	if locked, ok := errors.AsType[*state.LockedError](err); ok {
		return answer{status: http.StatusLocked, body: describeLock(locked, c.r.PathValue("name"))}, nil
	}
	return done, err
}

// describeLock adds to the lock info, where Terraform's users look for it, which Run holds the lock, and what would
// release it.
func describeLock(locked *state.LockedError, workspace string) []byte {
	var info map[string]any
	if json.Unmarshal(locked.Info, &info) != nil || (info["Info"] != nil && info["Info"] != "") {
		return locked.Info
	}
	info["Info"] = wayOut(locked, workspace)
	b, err := json.Marshal(info)
	if err != nil {
		return locked.Info
	}
	return b
}

// wayOut says who holds a lock and what would release it.
func wayOut(locked *state.LockedError, workspace string) string {
	if locked.Holder.Person != "" {
		return locked.Error()
	}
	return locked.Error() + "; it is released by itself when that Pod has ended or its node is removed from the " +
		"cluster, or by: plumbline state unlock " + workspace
}

func (s *Server) unlock(ctx context.Context, c call) (answer, error) {
	return done, s.Service.Unlock(ctx, c.uid, c.id.holder(), c.body)
}

func (s *Server) getOutputs(ctx context.Context, c call) (answer, error) {
	data, err := s.Service.Outputs(ctx, c.uid)
	return answer{status: http.StatusOK, body: data}, err
}

func (s *Server) putOutputs(ctx context.Context, c call) (answer, error) {
	var outputs map[string]job.Output
	if err := json.Unmarshal(c.body, &outputs); err != nil {
		return answer{}, fmt.Errorf("%w: reading outputs: %w", state.ErrInvalid, err)
	}
	if err := s.Service.PutOutputs(ctx, c.uid, c.body); err != nil {
		return answer{}, err
	}
	s.archiveBeside(ctx, c, job.PartOutputs)
	return done, nil
}

func (s *Server) putResult(ctx context.Context, c call) (answer, error) {
	run := c.r.PathValue("run")
	if run != c.id.Run {
		return answer{}, fmt.Errorf("%w: the token is of run %s, not of run %s", ErrForbidden, c.id.Run, run)
	}
	if len(c.body) > job.MaxResult {
		return answer{}, &http.MaxBytesError{Limit: job.MaxResult}
	}
	if _, err := job.Parse(string(c.body)); err != nil {
		return answer{}, fmt.Errorf("%w: %w", state.ErrInvalid, err)
	}
	if err := s.Reports.Report(ctx, c.id, c.body); err != nil {
		return answer{}, err
	}
	s.archiveBeside(ctx, c, job.PartResult)
	return done, nil
}

// checkMD5 refuses a body that was damaged on its way; a missing checksum is fine.
func checkMD5(header string, body []byte) error {
	if header == "" {
		return nil
	}
	want, err := base64.StdEncoding.DecodeString(header)
	if err != nil {
		return fmt.Errorf("%w: reading Content-MD5: %w", state.ErrInvalid, err)
	}
	if got := md5.Sum(body); !bytes.Equal(got[:], want) { //nolint:gosec // see the import
		return fmt.Errorf("%w: the body does not match its Content-MD5", state.ErrInvalid)
	}
	return nil
}
