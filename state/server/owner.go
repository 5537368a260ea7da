package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/people"
)

// ownerRoutes are those that ask whose a state is, for the controller.
var ownerRoutes = []route{
	{"workspace_delete", "erase", "DELETE " + workspacePath, controls, bigTimeout, 0, (*Server).deleteWorkspace},
	{"adopt", "take over", "POST " + workspacePath + "/adopt", inspects, bigTimeout, 0, (*Server).adopt},
}

const (
	personsStates = people.Prefix + "/namespaces/{namespace}/states"
	personsState  = personsStates + "/{uid}"
)

// keptRoute is a route for people about states by their UIDs, and who is admitted to it.
type keptRoute struct {
	personRoute
	admit func(s *Server, ctx context.Context, c *call, needs []right) error
}

// keptRoutes need the right for each state of the namespace, or of the cluster, because the Workspace that they could
// be asked for may be none any more.
var keptRoutes = []keptRoute{
	{personRoute{"people_adopt", "take over", "POST " + personsWorkspace + "/state/adopt", []right{changesState},
		bigTimeout, maxSmall, (*Server).adoptInPerson}, (*Server).admit},
	{personRoute{"people_orphans_get", "list orphans", "GET " + personsStates, []right{readsState},
		bigTimeout, 0, (*Server).getOrphans}, (*Server).admitToAll},
	{personRoute{"people_all_orphans_get", "list orphans", "GET " + people.Prefix + "/states", []right{readsState},
		bigTimeout, 0, (*Server).getOrphans}, (*Server).admitToAll},
	{personRoute{"people_kept_get", "read", "GET " + personsState, []right{readsState},
		bigTimeout, 0, (*Server).pull}, (*Server).admitToKept},
	{personRoute{"people_kept_versions_get", "list versions", "GET " + personsState + "/versions", []right{readsState},
		bigTimeout, 0, (*Server).getVersions}, (*Server).admitToKept},
	{personRoute{"people_kept_version_get", "read version", "GET " + personsState + "/versions/{number}",
		[]right{readsState}, bigTimeout, 0, (*Server).pullVersion}, (*Server).admitToKept},
}

// owner is the Workspace that the call is about.
func (c call) owner() state.Owner {
	return state.Owner{UID: c.uid, Namespace: c.r.PathValue("namespace"), Name: c.r.PathValue("name")}
}

// expected is what the caller says that there should be.
func (c call) expected() (job.Expected, error) {
	want, err := job.ParseExpected(c.r.Header.Get(job.ExpectedHeader))
	if err != nil {
		return job.Expected{}, fmt.Errorf("%w: %w", state.ErrInvalid, err)
	}
	return want, nil
}

func (s *Server) deleteWorkspace(ctx context.Context, c call) (answer, error) {
	c.uid = c.r.URL.Query().Get("uid")
	want, err := c.expected()
	if err != nil {
		return answer{}, err
	}
	r := state.Removal{Owner: c.owner(), Want: want}
	if serial := c.r.URL.Query().Get("destroyed"); serial != "" {
		if r.Destroyed, err = strconv.ParseInt(serial, 10, 64); err != nil {
			return answer{}, fmt.Errorf("%w: destroyed is the serial that a destruction left", state.ErrInvalid)
		}
	}
	return done, s.Service.Purge(ctx, r)
}

// adopt does what the annotation of a Workspace says about a state that is missing. The annotation needs no right but
// that to change the Workspace, so it reaches the states of its own name alone.
func (s *Server) adopt(ctx context.Context, c call) (answer, error) {
	q := c.r.URL.Query()
	if uid := q.Get("uid"); uid != c.uid {
		return answer{}, fmt.Errorf("%w: the Workspace's UID is %s, not %s", state.ErrConflict, c.uid, uid)
	}
	return s.takeOver(ctx, state.TakeOver{
		To: c.owner(), From: q.Get("from"), Reach: state.SameName,
		By: state.Actor{Name: c.id.who(), Why: "the annotation plumbline.dev/adopt-state of the Workspace"},
	})
}

func (s *Server) adoptInPerson(ctx context.Context, c call) (answer, error) {
	var asked people.Adoption
	if err := json.Unmarshal(c.body, &asked); err != nil {
		return answer{}, fmt.Errorf("%w: reading what is to be taken over: %w", state.ErrInvalid, err)
	}
	if asked.Why == "" {
		asked.Why = "plumbline state adopt"
	}
	by, err := c.actor(asked.Why)
	if err != nil {
		return answer{}, err
	}
	t := state.TakeOver{To: c.owner(), From: asked.From, By: by}
	if t.Reach, err = s.reach(ctx, c, asked.From); err != nil {
		return answer{}, err
	}
	return s.takeOver(ctx, t)
}

// reach is how far a person may reach for a state: they need the right to change it under its former name too, or that
// for all states where no name is known.
func (s *Server) reach(ctx context.Context, c call, from string) (state.Reach, error) {
	if from == state.AdoptNone || from == c.uid {
		return state.SameName, nil
	}
	if err := checkUID(from); err != nil {
		return 0, err
	}
	source, err := s.Service.OwnerOf(ctx, from)
	if err != nil {
		return 0, err
	}
	namespace := c.r.PathValue("namespace")
	switch {
	case source.Exists() && source.Namespace != namespace:
		return state.SameName, nil // where it isn't found
	case source.Exists():
		return state.SameNamespace, s.People.May(ctx, c.user, Asked{changesState, namespace, source.Name})
	}
	return state.Anywhere, s.People.May(ctx, c.user, Asked{right: changesState})
}

// takeOver refuses the state of a Workspace that is there.
func (s *Server) takeOver(ctx context.Context, t state.TakeOver) (answer, error) {
	if t.From != state.AdoptNone {
		if err := checkUID(t.From); err != nil {
			return answer{}, err
		}
		if err := s.unowned(ctx, t); err != nil {
			return answer{}, err
		}
	}
	v, err := s.Service.Adopt(ctx, t)
	return answerVersion(v, err)
}

func (s *Server) unowned(ctx context.Context, t state.TakeOver) error {
	if t.From == t.To.UID {
		return nil
	}
	source, err := s.Service.OwnerOf(ctx, t.From)
	if err != nil {
		return err
	}
	owned := false
	if source.Exists() {
		uid, err := s.Gate.WorkspaceUID(ctx, source.Namespace, source.Name)
		if err != nil && !errors.Is(err, state.ErrNotFound) {
			return err
		}
		owned = uid == t.From
	} else if t.Reach == state.Anywhere {
		uids, err := s.People.WorkspaceUIDs(ctx, "")
		if err != nil {
			return err
		}
		owned = uids[t.From]
	}
	if owned {
		return fmt.Errorf("%w: the state of UID %s is that of Workspace %s, which is there: delete that one with "+
			"spec.deletionPolicy Orphan first", state.ErrConflict, t.From, source.Name)
	}
	return nil
}

// checkUID keeps out of keys what is no UID.
func checkUID(uid string) error {
	if uid == "" || len(uid) > 64 || strings.ContainsAny(uid, "/ ") {
		return fmt.Errorf("%w: %q is no UID: plumbline state orphans shows them", state.ErrInvalid, uid)
	}
	return nil
}

// admitToAll is admit for what is no single Workspace's.
func (s *Server) admitToAll(ctx context.Context, c *call, needs []right) error {
	user, err := s.FrontProxy.Person(ctx, c.r)
	if err != nil {
		return err
	}
	c.id, c.user = Identity{Person: user.Username, Groups: user.Groups}, user
	for _, need := range needs {
		if err := s.People.May(ctx, user, Asked{need, c.r.PathValue("namespace"), ""}); err != nil {
			return err
		}
	}
	return nil
}

// admitToKept is admit for the state of a UID, which has to be one of the namespace's; whoever may read all states may
// read one whose owner was never noted.
func (s *Server) admitToKept(ctx context.Context, c *call, needs []right) error {
	if err := s.admitToAll(ctx, c, needs); err != nil {
		return err
	}
	c.uid = c.r.PathValue("uid")
	if err := checkUID(c.uid); err != nil {
		return err
	}
	owner, err := s.Service.OwnerOf(ctx, c.uid)
	if err != nil {
		return err
	}
	namespace := c.r.PathValue("namespace")
	switch {
	case owner.Exists() && owner.Namespace != namespace:
		return fmt.Errorf("%w: no state of UID %s is known in namespace %s", state.ErrNotFound, c.uid, namespace)
	case owner.Exists():
		c.r.SetPathValue("name", owner.Name)
		return nil
	}
	c.r.SetPathValue("name", c.uid)
	return s.People.May(ctx, c.user, Asked{right: readsState})
}

// getOrphans lists the states that no Workspace owns.
func (s *Server) getOrphans(ctx context.Context, c call) (answer, error) {
	namespace := c.r.PathValue("namespace")
	list := s.Service.KeptAnywhere
	if namespace != "" {
		list = func(ctx context.Context) ([]state.Kept, error) { return s.Service.KeptIn(ctx, namespace) }
	}
	kept, err := list(ctx)
	if err != nil {
		return answer{}, err
	}
	// After the states: a Workspace that is made meanwhile is no orphan's former one.
	owned, err := s.People.WorkspaceUIDs(ctx, namespace)
	if err != nil {
		return answer{}, err
	}
	return answerJSON(people.Orphans{Orphans: slices.DeleteFunc(kept, func(k state.Kept) bool { return owned[k.UID] })})
}
