// Package server is the state service's HTTP face: it says who is calling, whether they may, and in what form Terraform
// wants its answer. What is done is package state's.
//
//	request -> metrics, access log -> route's deadline -> Gate: token -> Identity -> allowed? -> state.Service -> answer
//
// What people ask comes by the API server, below /apis (see people.go): its certificate says for whom, and RBAC whether
// they may.
//
// A runner Pod reaches what belongs to its own Run's Workspace and nothing else; the controller reads outputs and
// removes what is kept of a destroyed Workspace. Whatever can't be found out because the API server or the store is
// away is a 503, which callers repeat: it is never a 404, which Terraform would take for an empty state.
package server

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"

	"github.com/plumbline-dev/plumbline/state"
)

// Identity is who is calling: the controller, the Pod of a Run, or a person through the API server.
type Identity struct {
	Controller bool
	Person     string

	// Groups are a person's, as the API server knows them.
	Groups []string

	Namespace    string
	Workspace    string
	WorkspaceUID string
	Run          string
	RunUID       string
	Pod          string
	PodUID       string
	// Over tells that the Run was finished when it was last looked at.
	Over bool
}

func (i Identity) holder() state.Holder {
	return state.Holder{Namespace: i.Namespace, Run: i.Run, Pod: i.Pod, PodUID: i.PodUID}
}

// Gate tells who is calling.
type Gate interface {
	// Identify says whose token it is. It may remember the answer for some seconds.
	Identify(ctx context.Context, token string) (Identity, error)
	// Active returns nil when the caller's Run is, at this moment, its Pod's and not finished.
	Active(ctx context.Context, id Identity) error
	// WorkspaceUID is for the controller, whose token belongs to no Workspace.
	WorkspaceUID(ctx context.Context, namespace, name string) (string, error)
}

// Reports takes the Result of the caller's Run.
type Reports interface {
	Report(ctx context.Context, id Identity, result []byte) error
}

// Options are what a Server works with.
type Options struct {
	Service *state.Service
	Gate    Gate
	Reports Reports
	// FrontProxy and People are for what people ask; nobody but Pods and the controller is served without them.
	FrontProxy *FrontProxy
	People     People
	Clock      clock.Clock
	Log        *slog.Logger
	// Audit gets a line for each read and write of a state; Log when nil.
	Audit   *slog.Logger
	Metrics prometheus.Registerer
}

// Server answers the state service's requests.
type Server struct {
	Options
	metrics *metrics
	room    *room
}

// New returns a Server.
func New(o Options) *Server {
	o.Audit = cmp.Or(o.Audit, o.Log)
	return &Server{Options: o, metrics: newMetrics(o.Metrics), room: newRoom()}
}

const (
	// maxState bounds the body of a state or of outputs, maxSmall that of anything else.
	maxState = 64 << 20
	maxSmall = 64 << 10

	// requestTimeout bounds what a request waits for; bigTimeout where many megabytes are stored or read.
	requestTimeout = 20 * time.Second
	bigTimeout     = time.Minute
)

// access is what a route asks of its caller.
type access int

const (
	// reads: the Pod of a Run that was not over some seconds ago.
	reads access = iota
	// writes: the Pod of a Run that is not over now.
	writes
	// finishes: the Pod of a Run that may be over already, because the last words can be late or repeated.
	finishes
	// readsOutputs: as reads, or the controller.
	readsOutputs
	// inspects: the controller alone, about a Workspace that there is.
	inspects
	// controls: the controller alone.
	controls
)

type route struct {
	name string
	// action is what the audit calls a request by this route; unaudited for none.
	action  string
	pattern string
	access  access
	timeout time.Duration
	maxBody int64
	handle  handler
}

const workspacePath = "/v1/workspaces/{namespace}/{name}"

var routes = []route{
	{"state_get", "read", "GET " + workspacePath + "/state", reads, bigTimeout, 0, (*Server).getState},
	{"state_post", "write", "POST " + workspacePath + "/state", writes, bigTimeout, maxState, (*Server).postState},
	{"state_delete", "remove", "DELETE " + workspacePath + "/state", writes,
		requestTimeout, 0, (*Server).deleteState},
	{"lock", "lock", "LOCK " + workspacePath + "/state", writes, requestTimeout, maxSmall, (*Server).lock},
	{"unlock", "unlock", "UNLOCK " + workspacePath + "/state", finishes, requestTimeout, maxSmall, (*Server).unlock},
	{"outputs_get", "read outputs", "GET " + workspacePath + "/outputs", readsOutputs,
		bigTimeout, 0, (*Server).getOutputs},
	{"outputs_put", "write outputs", "PUT " + workspacePath + "/outputs", writes,
		bigTimeout, maxState, (*Server).putOutputs},
	{"result_put", "report result", "PUT " + workspacePath + "/runs/{run}/result", finishes,
		requestTimeout, maxSmall, (*Server).putResult},
}

// Handler serves the API.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range slices.Concat(routes, manageRoutes, ownerRoutes, archiveRoutes, unsavedRoutes) {
		mux.Handle(r.pattern, s.observed(r))
	}
	if s.FrontProxy != nil {
		s.handlePeople(mux)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		// Not 404: Terraform would take it for an empty state.
		_, _ = writeAnswer(w, answerError(http.StatusBadRequest, "no such path or method; the API is below /v1/workspaces"))
	})
	return mux
}
