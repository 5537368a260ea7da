package server

import (
	"context"
	"slices"

	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/state/people"
)

// personsArchive is where the archive of a Run is found that may be gone: by its Workspace.
const personsArchive = personsWorkspace + "/runs"

// personArchiveRoutes are those of what Runs have left behind. A Run that there is needs no Workspace to be named. To
// list takes the right to read the log of all Runs of the namespace.
var personArchiveRoutes = slices.Concat(
	archiveRoutesAt("people_", personsRun),
	[]personRoute{{"people_archive_list", "list archive", "GET " + personsArchive, []right{readsLog},
		bigTimeout, 0, (*Server).getArchivedRuns}},
	archiveRoutesAt("people_archive_", personsArchive+"/{run}"),
)

func archiveRoutesAt(name, path string) []personRoute {
	return []personRoute{
		{name + "log_get", "read log", "GET " + path + "/log", []right{readsLog}, bigTimeout, 0, (*Server).getLog},
		{name + "log_end_get", "read log", "GET " + path + "/log/end", []right{readsLog},
			requestTimeout, 0, (*Server).getLogEnd},
		// The text hides what is sensitive, as the log does. The plan itself and its JSON hold the whole state.
		{name + "plan_text_get", "read plan", "GET " + path + "/plan.txt", []right{readsPlan},
			bigTimeout, 0, getPart(job.PartPlanText)},
		{name + "plan_get", "read plan", "GET " + path + "/plan", []right{readsPlan, readsState},
			bigTimeout, 0, getPart(job.PartPlan)},
		{name + "plan_json_get", "read plan", "GET " + path + "/plan.json", []right{readsPlan, readsState},
			bigTimeout, 0, getPart(job.PartPlanJSON)},
	}
}

func (s *Server) getArchivedRuns(ctx context.Context, c call) (answer, error) {
	runs, err := s.Service.ArchivedRuns(ctx, c.uid)
	if err != nil {
		return answer{}, err
	}
	return answerJSON(people.ArchivedRuns{Runs: runs})
}
