package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/people"
)

const runPath = workspacePath + "/runs/{run}"

// archiveRoutes are those of what a Run leaves behind. Its Pod writes them, also when the Run is over: the last of the
// log comes after the report, and a plan's texts are made after it.
var archiveRoutes = []route{
	{"log_put", unaudited, "PUT " + runPath + "/log/{n}", finishes,
		requestTimeout, job.MaxPackedChunk, (*Server).putChunk},
	{"log_get", "read log", "GET " + runPath + "/log", inspects, bigTimeout, 0, (*Server).getLog},
	{"plan_put", "write plan", "PUT " + runPath + "/plan", finishes, bigTimeout, maxState, putPart(job.PartPlan)},
	{"plan_json_put", "write plan", "PUT " + runPath + "/plan.json", finishes,
		bigTimeout, maxState, putPart(job.PartPlanJSON)},
	{"plan_text_put", "write plan", "PUT " + runPath + "/plan.txt", finishes,
		bigTimeout, maxState, putPart(job.PartPlanText)},
	{"plan_get", "read plan", "GET " + runPath + "/plan", inspects, bigTimeout, 0, getPart(job.PartPlan)},
	{"plan_json_get", "read plan", "GET " + runPath + "/plan.json", inspects,
		bigTimeout, 0, getPart(job.PartPlanJSON)},
	{"plan_text_get", "read plan", "GET " + runPath + "/plan.txt", inspects,
		bigTimeout, 0, getPart(job.PartPlanText)},
	{"run_outputs_get", "read outputs", "GET " + runPath + "/outputs", inspects,
		bigTimeout, 0, getPart(job.PartOutputs)},
	{"result_get", "read result", "GET " + runPath + "/result", inspects, requestTimeout, 0, getPart(job.PartResult)},
	{"accessors_put", "write accessors", "PUT " + runPath + "/accessors", writes,
		requestTimeout, maxSmall, (*Server).putAccessors},
	{"accessors_get", "read accessors", "GET " + runPath + "/accessors", inspects,
		requestTimeout, 0, (*Server).getAccessors},
	{"run_delete", "erase run", "DELETE " + runPath, controls, bigTimeout, 0, (*Server).deleteRun},
}

// ownRun is the archive of the caller's Run, which the path must name.
func (c call) ownRun() (state.RunID, error) {
	if run := c.r.PathValue("run"); run != c.id.Run {
		return state.RunID{}, fmt.Errorf("%w: the token is of run %s, not of run %s", ErrForbidden, c.id.Run, run)
	}
	return c.callersRun(), nil
}

func (c call) callersRun() state.RunID {
	return state.RunID{UID: c.uid, Run: c.id.Run, RunUID: c.id.RunUID}
}

// namedRun is the archive of the Run that the path names: of the one that there is, where that was looked at, otherwise
// of the one that the query's runUID means.
func (s *Server) namedRun(ctx context.Context, c call) (state.RunID, error) {
	id := state.RunID{UID: c.uid, Run: c.r.PathValue("run"), RunUID: c.run.UID}
	if c.run.UID != "" {
		return s.Service.ArchiveOf(ctx, id, c.run.Created)
	}
	id.RunUID = c.r.URL.Query().Get(people.QueryRunUID)
	return s.Service.FindArchive(ctx, id)
}

// putChunk takes a piece of a log. The query's drop=<from>-<to> names earlier ones that are not to be kept any longer.
func (s *Server) putChunk(ctx context.Context, c call) (answer, error) {
	id, err := c.ownRun()
	if err != nil {
		return answer{}, err
	}
	chunk := state.NewChunk{Packed: c.body}
	if chunk.N, err = strconv.Atoi(c.r.PathValue("n")); err != nil {
		return answer{}, fmt.Errorf("%w: reading the chunk's number: %w", state.ErrInvalid, err)
	}
	if drop := c.r.URL.Query().Get("drop"); drop != "" {
		if _, err := fmt.Sscanf(drop, "%d-%d", &chunk.DropFrom, &chunk.DropTo); err != nil {
			return answer{}, fmt.Errorf("%w: reading what is to be dropped: %w", state.ErrInvalid, err)
		}
	}
	return done, s.Service.PutChunk(ctx, id, chunk)
}

// getLog sends a log, or a part of it, as it is read: memory is for a piece of it.
func (s *Server) getLog(ctx context.Context, c call) (answer, error) {
	part := state.WholeLog
	if err := errors.Join(c.number(people.QueryAfter, &part.After), c.number(people.QueryUntil, &part.Until)); err != nil {
		return answer{}, err
	}
	id, err := s.namedRun(ctx, c)
	if err != nil {
		return answer{}, err
	}
	log, err := s.Service.RunLog(ctx, id, part)
	if err != nil {
		return answer{}, err
	}
	text := bufio.NewReaderSize(log, job.MaxChunk)
	// What can't be read at all is an answer of its own, before there is a part of one.
	if _, err := text.Peek(1); err != nil && !errors.Is(err, io.EOF) {
		return answer{}, err
	}
	return answer{status: http.StatusOK, stream: text, kind: "text/plain; charset=utf-8"}, nil
}

func (s *Server) getLogEnd(ctx context.Context, c call) (answer, error) {
	id, err := s.namedRun(ctx, c)
	if err != nil {
		return answer{}, err
	}
	end, err := s.Service.LogEnd(ctx, id)
	if err != nil {
		return answer{}, err
	}
	return answerJSON(people.LogEnd{End: end})
}

// number reads a parameter of the query, if it is there.
func (c call) number(name string, into *int) error {
	value := c.r.URL.Query().Get(name)
	if value == "" {
		return nil
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 {
		return fmt.Errorf("%w: %s is a number, as log/end tells it", state.ErrInvalid, name)
	}
	*into = n
	return nil
}

// contentTypes are those of parts; the others are JSON.
var contentTypes = map[string]string{
	job.PartPlan:     "application/octet-stream",
	job.PartPlanText: "text/plain; charset=utf-8",
}

type handler = func(*Server, context.Context, call) (answer, error)

func putPart(part string) handler {
	return func(s *Server, ctx context.Context, c call) (answer, error) {
		id, err := c.ownRun()
		if err != nil {
			return answer{}, err
		}
		return done, s.Service.PutPart(ctx, id, part, c.body)
	}
}

func getPart(part string) handler {
	return func(s *Server, ctx context.Context, c call) (answer, error) {
		id, err := s.namedRun(ctx, c)
		if err != nil {
			return answer{}, err
		}
		data, err := s.Service.Part(ctx, id, part)
		return answer{status: http.StatusOK, body: data, kind: contentTypes[part]}, err
	}
}

// putAccessors takes the accessors of a Run's Vault tokens, by which the controller can revoke them.
func (s *Server) putAccessors(ctx context.Context, c call) (answer, error) {
	var accessors []string
	if err := json.Unmarshal(c.body, &accessors); err != nil {
		return answer{}, fmt.Errorf("%w: reading accessors: %w", state.ErrInvalid, err)
	}
	return putPart(job.PartAccessors)(s, ctx, c)
}

// getAccessors also gives those that a server of a former release has kept by the Run's name. Should they be a former
// Run's, that one is over, and revoking them does no harm; not to revoke those of this Run would.
func (s *Server) getAccessors(ctx context.Context, c call) (answer, error) {
	id, err := s.namedRun(ctx, c)
	if err != nil {
		return answer{}, err
	}
	data, err := s.Service.Part(ctx, id, job.PartAccessors)
	if errors.Is(err, state.ErrNotFound) {
		id.RunUID = ""
		data, err = s.Service.Part(ctx, id, job.PartAccessors)
	}
	return answer{status: http.StatusOK, body: data}, err
}

// archiveBeside keeps what the caller's Run has stored or reported, and what has reached its place already, so that
// failing is no reason to refuse it.
func (s *Server) archiveBeside(ctx context.Context, c call, part string) {
	if err := s.Service.PutPart(ctx, c.callersRun(), part, c.body); err != nil {
		s.Log.WarnContext(ctx, "archiving failed", "namespace", c.id.Namespace, "run", c.id.Run, "part", part, "error", err)
	}
}

func (s *Server) deleteRun(ctx context.Context, c call) (answer, error) {
	c.uid = c.r.URL.Query().Get("uid")
	return done, s.Service.EraseRun(ctx, state.RunID{UID: c.uid, Run: c.r.PathValue("run")})
}
