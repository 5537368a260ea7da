package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/plumbline-dev/plumbline/state"
)

// manageRoutes are those of a Workspace's lock and versions, for the controller.
var manageRoutes = []route{
	{"lock_get", "read lock", "GET " + workspacePath + "/lock", inspects, requestTimeout, 0, (*Server).getLock},
	{"lock_delete", "free lock", "DELETE " + workspacePath + "/lock", inspects,
		requestTimeout, 0, (*Server).deleteLock},
	{"versions_get", "list versions", "GET " + workspacePath + "/versions", inspects,
		bigTimeout, 0, (*Server).getVersions},
}

func (s *Server) getLock(ctx context.Context, c call) (answer, error) {
	status, err := s.Service.LockStatus(ctx, c.uid)
	if err != nil {
		return answer{}, err
	}
	return answerJSON(status)
}

// deleteLock frees the lock of a holder that has certainly ended, and tells whose it was.
func (s *Server) deleteLock(ctx context.Context, c call) (answer, error) {
	from, err := s.Service.Release(ctx, c.uid, state.Actor{Name: c.id.who(), Why: "its holder has ended"})
	if locked, ok := errors.AsType[*state.LockedError](err); ok {
		return refuseRelease(locked, c.r.PathValue("name"))
	}
	if err != nil {
		return answer{}, err
	}
	return answerJSON(map[string]*state.Holder{"released": from})
}

// refuseRelease says who keeps the lock, for programs and for people.
func refuseRelease(locked *state.LockedError, workspace string) (answer, error) {
	a, err := answerJSON(map[string]any{"error": wayOut(locked, workspace), "holder": locked.Holder})
	a.status = http.StatusConflict
	return a, err
}

func (s *Server) getVersions(ctx context.Context, c call) (answer, error) {
	versions, err := s.Service.Versions(ctx, c.uid)
	if err != nil {
		return answer{}, err
	}
	return answerJSON(map[string][]state.Version{"versions": versions})
}

func answerJSON(v any) (answer, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return answer{}, fmt.Errorf("encoding the answer: %w", err)
	}
	return answer{status: http.StatusOK, body: b}, nil
}
