package server

import (
	"log/slog"
	"net/http"
)

// unaudited is the action of a route by which neither a state nor who may write it is read or changed, and which is
// asked too often for a line each: the log's pieces. Every other route says in its own definition what the audit calls
// it.
const unaudited = ""

// audit leaves one line for each such request, also for one that was refused: who, what, which, why, how it ended. What
// was read or written is there by number, size and digest, never by content. A person's line has the ID under which the
// API server's own audit has the request (https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1).
func (s *Server) audit(rt route, c *call, a answer) {
	if rt.action == unaudited {
		return
	}
	outcome := "done"
	switch {
	case a.status >= http.StatusInternalServerError:
		outcome = "failed"
	case a.status >= http.StatusBadRequest:
		outcome = "refused"
	}
	s.Audit.LogAttrs(c.r.Context(), slog.LevelInfo, "audit",
		slog.Bool("audit", true), slog.String("action", rt.action), slog.String("outcome", outcome),
		slog.Int("status", a.status), slog.String("who", c.id.who()), slog.String("why", c.told.why),
		slog.Any("groups", c.id.Groups), slog.String("auditID", c.r.Header.Get("Audit-Id")),
		slog.String("namespace", c.r.PathValue("namespace")), slog.String("workspace", c.r.PathValue("name")),
		slog.String("workspaceUID", c.uid), slog.String("run", c.r.PathValue("run")),
		slog.Uint64("version", a.version.Number), slog.Uint64("serial", a.version.Serial),
		slog.String("digest", a.version.Digest),
		slog.Int("received", len(c.body)), slog.Int("sent", len(a.body)), slog.String("remote", c.r.RemoteAddr))
}

// who names the caller; "" is somebody who could not say.
func (i Identity) who() string {
	switch {
	case i.Controller:
		return "controller"
	case i.Person != "":
		return "user " + i.Person
	case i.Pod != "":
		return "run " + i.Namespace + "/" + i.Run + " in pod " + i.Pod
	}
	return ""
}
