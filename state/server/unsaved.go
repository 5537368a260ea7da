package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/people"
)

const (
	unsavedPath    = workspacePath + "/unsaved"
	personsUnsaved = personsWorkspace + "/state/unsaved"
	gzipped        = "application/gzip"
)

// unsavedRoutes are those of states that Runs could not save. A Run leaves one also when it is over: that may be why.
var unsavedRoutes = []route{
	{"unsaved_put", "keep unsaved", "PUT " + unsavedPath, finishes,
		bigTimeout, state.MaxUnsaved, (*Server).putUnsaved},
	{"unsaved_store", "store unsaved", "POST " + unsavedPath, writes, bigTimeout, 0, (*Server).storeUnsaved},
	{"unsaved_get", "read unsaved", "GET " + unsavedPath + "/{id}", reads, bigTimeout, 0, (*Server).getUnsaved},
	{"unsaved_delete", "drop unsaved", "DELETE " + unsavedPath + "/{id}", writes,
		requestTimeout, 0, (*Server).deleteUnsaved},
	{"made_put", "note what was made", "PUT " + workspacePath + "/made", finishes,
		requestTimeout, state.MaxMade, (*Server).putMade},
	{"made_delete", "take over what was made", "DELETE " + workspacePath + "/made/{run}", writes,
		requestTimeout, 0, (*Server).deleteMade},
}

var personUnsavedRoutes = []personRoute{
	{"people_unsaved_list", "list unsaved", "GET " + personsUnsaved, []right{readsState},
		bigTimeout, 0, (*Server).listUnsaved},
	{"people_unsaved_get", "read unsaved", "GET " + personsUnsaved + "/{id}", []right{readsState},
		bigTimeout, 0, (*Server).getUnsaved},
	{"people_unsaved_delete", "discard unsaved", "DELETE " + personsUnsaved + "/{id}", []right{changesState},
		bigTimeout, 0, (*Server).discardUnsaved},
}

// putUnsaved takes a state as gzip has packed it. The query's place is the digest of the backend that it belongs in,
// and why is what kept it from there.
func (s *Server) putUnsaved(ctx context.Context, c call) (answer, error) {
	q := c.r.URL.Query()
	why := q.Get(people.QueryWhy)
	kept, err := s.Service.KeepUnsaved(ctx, c.uid, state.Unsaved{
		Run: c.id.Run, Place: q.Get("place"), Why: why[:min(len(why), people.MaxWhy)],
	}, c.body)
	if err != nil {
		return answer{}, err
	}
	s.noteOwner(ctx, c)
	return answerJSON(kept)
}

// noteOwner notes whose what was kept is, so that a Workspace that is made again under the name doesn't begin beside
// it. It is kept all the same when that fails.
func (s *Server) noteOwner(ctx context.Context, c call) {
	if err := s.Service.Register(ctx, c.owner()); err != nil {
		s.Log.WarnContext(ctx, "noting whose an unsaved state is failed", "uid", c.uid, "error", err)
	}
}

// storeUnsaved is what a Run begins with. The answer lists the states that belong in other backends, and what was made
// and stands in no state.
func (s *Server) storeUnsaved(ctx context.Context, c call) (answer, error) {
	left, err := s.Service.StoreUnsaved(ctx, c.uid, c.id.holder())
	if locked, ok := errors.AsType[*state.LockedError](err); ok && !errors.Is(err, state.ErrNotHolder) {
		return answer{status: http.StatusLocked, body: describeLock(locked, c.r.PathValue("name"))}, nil
	}
	if err != nil {
		return answer{}, err
	}
	made, err := s.Service.Made(ctx, c.uid)
	if err != nil || len(left)+len(made) == 0 {
		return answer{status: http.StatusNoContent}, err
	}
	return answerJSON(people.UnsavedStates{States: left, Made: made})
}

// putMade takes what the caller's Run has made and no state holds.
func (s *Server) putMade(ctx context.Context, c call) (answer, error) {
	if err := s.Service.PutMade(ctx, c.uid, c.id.Run, c.body); err != nil {
		return answer{}, err
	}
	if made, err := s.Service.Made(ctx, c.uid); err == nil && len(made) > 0 {
		s.noteOwner(ctx, c)
	}
	return done, nil
}

// deleteMade takes out what a Run had made, once another has taken it over.
func (s *Server) deleteMade(ctx context.Context, c call) (answer, error) {
	return done, s.Service.DropMade(ctx, c.uid, c.r.PathValue("run"))
}

func (s *Server) listUnsaved(ctx context.Context, c call) (answer, error) {
	list, err := s.Service.Unsaved(ctx, c.uid)
	if err != nil {
		return answer{}, err
	}
	made, err := s.Service.Made(ctx, c.uid)
	if err != nil {
		return answer{}, err
	}
	return answerJSON(people.UnsavedStates{States: list, Made: made})
}

func (s *Server) getUnsaved(ctx context.Context, c call) (answer, error) {
	packed, err := s.Service.UnsavedState(ctx, c.uid, c.r.PathValue("id"))
	if errors.Is(err, state.ErrNotFound) {
		err = fmt.Errorf("%w: workspace %s has no unsaved state %s (any more)",
			state.ErrNotFound, c.r.PathValue("name"), c.r.PathValue("id"))
	}
	return answer{status: http.StatusOK, body: packed, kind: gzipped}, err
}

func (s *Server) deleteUnsaved(ctx context.Context, c call) (answer, error) {
	return done, s.Service.DropUnsaved(ctx, c.uid, c.r.PathValue("id"))
}

// discardUnsaved is a person's decision that a state needn't be stored, or that what a Run has made needn't be taken
// over, and must not be one of a typing error.
func (s *Server) discardUnsaved(ctx context.Context, c call) (answer, error) {
	if _, err := c.actor(c.r.URL.Query().Get(people.QueryWhy)); err != nil {
		return answer{}, err
	}
	id := c.r.PathValue("id")
	made, err := s.Service.Made(ctx, c.uid)
	switch {
	case err != nil:
		return answer{}, err
	case made[id] != nil:
		return done, s.Service.DropMade(ctx, c.uid, id)
	}
	if a, err := s.getUnsaved(ctx, c); err != nil {
		return a, err
	}
	return s.deleteUnsaved(ctx, c)
}
