// Package people holds the words of the state service's API for people, which the API server passes on to it: the paths
// and bodies that the server and the command plumbline share.
//
//	person --kubeconfig--> API server --front proxy's certificate, X-Remote-User--> state service
//
// Below Prefix/namespaces/<namespace>/ there are
//
//	workspaces/<name>/state                 GET: the newest; PUT ?why=&force=true: another one
//	workspaces/<name>/state/versions        GET: Versions
//	workspaces/<name>/state/versions/<n>    GET: the state of that version
//	workspaces/<name>/state/rollback        POST Rollback
//	workspaces/<name>/state/repair          POST Repair: state.Repaired
//	workspaces/<name>/state/unsaved         GET: UnsavedStates
//	workspaces/<name>/state/unsaved/<id>    GET: that state, as gzip packs it; DELETE ?why=: it needn't be stored
//	workspaces/<name>/state/adopt           POST Adoption
//	workspaces/<name>/lock                  GET: state.LockStatus; DELETE ?id=&why=: Released
//	runs/<name>/log                         GET ?after=&until=: the whole, or the part between two ends
//	runs/<name>/log/end                     GET: LogEnd
//	runs/<name>/{plan,plan.json,plan.txt}   GET
//	workspaces/<name>/runs                  GET: ArchivedRuns, also of Runs that are gone
//	workspaces/<name>/runs/<run>/...        GET ?runUID=: as of runs/<run>
//	states                                  GET: Orphans; below Prefix itself those of all namespaces
//	states/<uid>, .../versions, .../versions/<n>   GET: as of a Workspace
//
// Whatever fails is answered with a Kubernetes Status.
package people

import (
	"encoding/json"
	"net/url"

	"github.com/plumbline-dev/plumbline/state"
)

// Group and Version of the API, the APIService that registers it, and where it is served.
const (
	Group      = "state.plumbline.dev"
	Version    = "v1alpha1"
	APIService = Version + "." + Group
	Prefix     = "/apis/" + Group + "/" + Version
)

// Query parameters.
const (
	QueryForce = "force"
	QueryWhy   = "why"
	QueryID    = "id"
	QueryAfter = "after"
	QueryUntil = "until"
	// QueryRunUID says which Run of a name is meant; state.NoRunUID for what is archived by the name alone.
	QueryRunUID = "runUID"
)

// MaxWhy bounds the reason for what a person does: each version describes those before it.
const MaxWhy = 1024

// Versions are those of a state, the newest first.
type Versions struct {
	Versions []state.Version `json:"versions"`
}

// UnsavedStates are those that Runs could not save, and that have to be stored before anything is applied.
type UnsavedStates struct {
	States []state.Unsaved `json:"states"`
	// Made is, by Run, what was made and stands in no state: the next Run takes it over before it plans.
	Made map[string]json.RawMessage `json:"made,omitempty"`
}

// Rollback says what to go back to.
type Rollback struct {
	Version uint64 `json:"version"`
	Why     string `json:"why"`
}

// Repair asks to go on from what can be read.
type Repair struct {
	Why string `json:"why"`
}

// ReasonDamaged is the reason of the Status that says that a state, its lock or its outputs can't be read.
const ReasonDamaged = "StateDamaged"

// Adoption says which UID's state a Workspace takes over; state.AdoptNone for none.
type Adoption struct {
	From string `json:"from"`
	Why  string `json:"why,omitempty"`
}

// Orphans are states that no Workspace owns.
type Orphans struct {
	Orphans []state.Kept `json:"orphans"`
}

// Released tells whom a lock was taken from: nobody when it was free.
type Released struct {
	Released *state.Holder `json:"released"`
}

// LogEnd is where a log ends by now. QueryAfter and QueryUntil take it: who follows a log asks for what came since.
type LogEnd struct {
	End int `json:"end"`
}

// ArchivedRuns are those of a Workspace of which something is archived, the newest first.
type ArchivedRuns struct {
	Runs []state.ArchivedRun `json:"runs"`
}

// WorkspacePath is where what belongs to a Workspace is served.
func WorkspacePath(namespace, name string) string { return path(namespace, "workspaces", name) }

// RunPath is where what belongs to a Run is served.
func RunPath(namespace, name string) string { return path(namespace, "runs", name) }

// ArchivePath is where the archive of a Run of a Workspace is served, also when the Run is gone.
func ArchivePath(namespace, workspace, run string) string {
	return WorkspacePath(namespace, workspace) + "/runs/" + url.PathEscape(run)
}

// StatesPath is where the states that no Workspace owns are served; those of all namespaces for an empty one.
func StatesPath(namespace string) string {
	if namespace == "" {
		return Prefix + "/states"
	}
	return Prefix + "/namespaces/" + url.PathEscape(namespace) + "/states"
}

// StatePath is where what is kept of a UID is served.
func StatePath(namespace, uid string) string {
	return StatesPath(namespace) + "/" + url.PathEscape(uid)
}

func path(namespace, kind, name string) string {
	return Prefix + "/namespaces/" + url.PathEscape(namespace) + "/" + kind + "/" + url.PathEscape(name)
}
