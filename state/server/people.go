package server

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumbline-dev/plumbline/state/people"
)

const (
	personsWorkspace = people.Prefix + "/namespaces/{namespace}/workspaces/{name}"
	personsRun       = people.Prefix + "/namespaces/{namespace}/runs/{run}"
)

// What people need for what they ask.
var (
	readsState   = right{"workspaces", "state", "get"}
	changesState = right{"workspaces", "state", "update"}
	seesLock     = right{"workspaces", "lock", "get"}
	breaksLock   = right{"workspaces", "lock", "delete"}
	readsLog     = right{"runs", "log", "get"}
	readsPlan    = right{"runs", "plan", "get"}
)

// personRoute is a route for people: they need each of the rights, on the Workspace or the Run that the path names, or
// on the Workspace of that Run.
type personRoute struct {
	name, action, pattern string
	needs                 []right
	timeout               time.Duration
	maxBody               int64
	handle                handler
}

var personRoutes = []personRoute{
	{"people_state_get", "read", "GET " + personsWorkspace + "/state", []right{readsState},
		bigTimeout, 0, (*Server).pull},
	{"people_state_put", "push", "PUT " + personsWorkspace + "/state", []right{changesState},
		bigTimeout, maxState, (*Server).push},
	{"people_versions_get", "list versions", "GET " + personsWorkspace + "/state/versions", []right{readsState},
		bigTimeout, 0, (*Server).getVersions},
	{"people_version_get", "read version", "GET " + personsWorkspace + "/state/versions/{number}", []right{readsState},
		bigTimeout, 0, (*Server).pullVersion},
	{"people_rollback", "rollback", "POST " + personsWorkspace + "/state/rollback", []right{changesState},
		bigTimeout, maxSmall, (*Server).rollback},
	// A repair may take the lock from somebody who can't be known any more.
	{"people_repair", "repair", "POST " + personsWorkspace + "/state/repair", []right{changesState, breaksLock},
		bigTimeout, maxSmall, (*Server).repair},
	{"people_lock_get", "read lock", "GET " + personsWorkspace + "/lock", []right{seesLock},
		requestTimeout, 0, (*Server).getLock},
	{"people_lock_delete", "force unlock", "DELETE " + personsWorkspace + "/lock", []right{breaksLock},
		requestTimeout, 0, (*Server).breakLock},
}

// handlePeople serves what the API server passes on.
func (s *Server) handlePeople(mux *http.ServeMux) {
	for _, p := range slices.Concat(personRoutes, personArchiveRoutes, personUnsavedRoutes) {
		s.handlePerson(mux, p, s.admit)
	}
	for _, p := range keptRoutes {
		s.handlePerson(mux, p.personRoute, func(ctx context.Context, c *call, needs []right) error {
			return p.admit(s, ctx, c, needs)
		})
	}
	handleDiscovery(mux)
}

// handlePerson serves a route for who is admitted.
func (s *Server) handlePerson(
	mux *http.ServeMux, p personRoute, admit func(ctx context.Context, c *call, needs []right) error,
) {
	mux.Handle(p.pattern, s.facing(
		face{
			serve: func(ctx context.Context, rt route, w http.ResponseWriter, c *call) (answer, error) {
				if err := admit(ctx, c, p.needs); err != nil {
					return answer{}, err
				}
				if err := s.readBody(ctx, w, c, rt.maxBody); err != nil {
					return answer{}, err
				}
				return s.handle(ctx, rt, c)
			},
			refuse: refusePerson,
		},
		route{name: p.name, action: p.action, pattern: p.pattern, timeout: p.timeout, maxBody: p.maxBody, handle: p.handle},
	))
}

// admit finds out who is calling and whether they may before it tells whether there is such a thing at all.
func (s *Server) admit(ctx context.Context, c *call, needs []right) error {
	user, err := s.FrontProxy.Person(ctx, c.r)
	if err != nil {
		return err
	}
	c.id, c.user = Identity{Person: user.Username, Groups: user.Groups}, user
	namespace, run := c.r.PathValue("namespace"), c.r.PathValue("run")
	for _, need := range needs {
		name := c.r.PathValue("name")
		if need.resource == "runs" {
			name = run
		}
		if err := s.People.May(ctx, user, Asked{need, namespace, name}); err != nil {
			return err
		}
		if c.r.PathValue("name") == "" {
			if c.run, err = s.People.Run(ctx, namespace, run); err != nil {
				return err
			}
			c.r.SetPathValue("name", c.run.Workspace)
		}
	}
	c.uid, err = s.Gate.WorkspaceUID(ctx, namespace, c.r.PathValue("name"))
	return err
}

var reasons = map[int]metav1.StatusReason{
	http.StatusBadRequest:            metav1.StatusReasonBadRequest,
	http.StatusUnauthorized:          metav1.StatusReasonUnauthorized,
	http.StatusForbidden:             metav1.StatusReasonForbidden,
	http.StatusNotFound:              metav1.StatusReasonNotFound,
	http.StatusPreconditionFailed:    metav1.StatusReasonConflict,
	http.StatusConflict:              metav1.StatusReasonConflict,
	http.StatusRequestEntityTooLarge: metav1.StatusReasonRequestEntityTooLarge,
	http.StatusInternalServerError:   metav1.StatusReasonInternalError,
	http.StatusServiceUnavailable:    metav1.StatusReasonServiceUnavailable,
}

// refusePerson says what answerTo says as Kubernetes says it: that is what kubectl and client-go show.
func refusePerson(err error) answer {
	a := answerTo(err)
	var told refusal
	_ = json.Unmarshal(a.body, &told) // it is our own
	return answerStatus(a.status, told)
}

func answerStatus(code int, told refusal) answer {
	b, err := json.Marshal(metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure, Message: told.Error,
		Reason: cmp.Or(metav1.StatusReason(told.Reason), reasons[code]),
		Code:   int32(code), //nolint:gosec // an HTTP status
	})
	if err != nil {
		return answerRefusal(code, told)
	}
	return answer{status: code, body: b}
}
