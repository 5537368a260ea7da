package server

import (
	"log/slog"
	"net/http"
)

// audited are the routes by which a state, or who may write it, is read or changed, and what the audit calls it.
var audited = map[string]string{
	"state_get": "read", "state_post": "write", "state_delete": "remove", "lock": "lock", "unlock": "unlock",
	"outputs_get": "read outputs", "outputs_put": "write outputs", "lock_get": "read lock", "lock_delete": "free lock",
	"versions_get": "list versions", "plan_get": "read plan", "plan_json_get": "read plan", "plan_text_get": "read plan",
	"log_get": "read log", "run_outputs_get": "read outputs", "workspace_delete": "erase",
	"unsaved_put": "keep unsaved", "unsaved_store": "store unsaved", "unsaved_get": "read unsaved",
	"unsaved_delete": "drop unsaved", "people_unsaved_list": "list unsaved", "people_unsaved_get": "read unsaved",
	"people_unsaved_delete": "discard unsaved",
	"people_state_get":      "read", "people_version_get": "read version", "people_versions_get": "list versions",
	"people_state_put": "push", "people_rollback": "rollback", "people_repair": "repair",
	"people_lock_get":    "read lock",
	"people_lock_delete": "force unlock", "people_log_get": "read log", "people_plan_get": "read plan",
	"people_plan_json_get": "read plan", "people_plan_text_get": "read plan",
}

// audit leaves one line for each such request, also for one that was refused: who, what, which, how it ended. What was
// read or written is there by number, size and digest, never by content.
func (s *Server) audit(rt route, c *call, a answer) {
	action, ok := audited[rt.name]
	if !ok {
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
		slog.Bool("audit", true), slog.String("action", action), slog.String("outcome", outcome),
		slog.Int("status", a.status), slog.String("who", c.id.who()),
		slog.String("namespace", c.r.PathValue("namespace")), slog.String("workspace", c.r.PathValue("name")),
		slog.String("workspaceUID", c.uid), slog.Uint64("version", a.version.Number),
		slog.Uint64("serial", a.version.Serial), slog.String("digest", a.version.Digest),
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
