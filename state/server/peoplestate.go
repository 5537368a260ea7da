package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/people"
)

func (s *Server) pull(ctx context.Context, c call) (answer, error) {
	v, data, err := s.Service.Newest(ctx, c.uid)
	if errors.Is(err, state.ErrNotFound) {
		err = fmt.Errorf("%w: workspace %s has no state", state.ErrNotFound, c.r.PathValue("name"))
	}
	return answer{status: http.StatusOK, body: data, version: v}, err
}

func (s *Server) pullVersion(ctx context.Context, c call) (answer, error) {
	n, err := strconv.ParseUint(c.r.PathValue("number"), 10, 64)
	if err != nil {
		return answer{}, fmt.Errorf("%w: a version is a number", state.ErrInvalid)
	}
	v, data, err := s.Service.Version(ctx, c.uid, n)
	switch {
	case errors.Is(err, state.ErrNotFound):
		err = fmt.Errorf("%w: workspace %s has no version %d (any more)", state.ErrNotFound, c.r.PathValue("name"), n)
	case err == nil && len(data) == 0:
		err = fmt.Errorf("%w: version %d is a removal and has no state", state.ErrNotFound, n)
	}
	return answer{status: http.StatusOK, body: data, version: v}, err
}

func (s *Server) push(ctx context.Context, c call) (answer, error) {
	by, err := c.actor(c.r.URL.Query().Get(people.QueryWhy))
	if err != nil {
		return answer{}, err
	}
	force := false
	if value := c.r.URL.Query().Get(people.QueryForce); value != "" {
		if force, err = strconv.ParseBool(value); err != nil {
			return answer{}, fmt.Errorf("%w: %s is true or false", state.ErrInvalid, people.QueryForce)
		}
	}
	v, err := s.Service.Push(ctx, c.uid, state.Pushed{By: by, Data: c.body, Force: force})
	if err == nil {
		err = s.Service.Register(ctx, c.owner())
	}
	return answerVersion(v, err)
}

func (s *Server) rollback(ctx context.Context, c call) (answer, error) {
	var asked people.Rollback
	if err := json.Unmarshal(c.body, &asked); err != nil {
		return answer{}, fmt.Errorf("%w: reading what to go back to: %w", state.ErrInvalid, err)
	}
	by, err := c.actor(asked.Why)
	if err != nil {
		return answer{}, err
	}
	v, err := s.Service.Rollback(ctx, c.uid, asked.Version, by)
	if errors.Is(err, state.ErrNotFound) {
		err = fmt.Errorf("%w: workspace %s has no version %d (any more)",
			state.ErrNotFound, c.r.PathValue("name"), asked.Version)
	}
	return answerVersion(v, err)
}

func (s *Server) repair(ctx context.Context, c call) (answer, error) {
	var asked people.Repair
	if err := json.Unmarshal(c.body, &asked); err != nil {
		return answer{}, fmt.Errorf("%w: reading why: %w", state.ErrInvalid, err)
	}
	by, err := c.actor(asked.Why)
	if err != nil {
		return answer{}, err
	}
	owners, err := s.Service.RepairOwner(ctx, c.owner(), by)
	if err != nil {
		return answer{}, err
	}
	done, err := s.Service.Repair(ctx, c.uid, by)
	if err != nil {
		return answer{}, err
	}
	done.Damaged = append(done.Damaged, owners...)
	a, err := answerJSON(done)
	if done.Version != nil {
		a.version = *done.Version
	}
	return a, err
}

func (s *Server) breakLock(ctx context.Context, c call) (answer, error) {
	by, err := c.actor(c.r.URL.Query().Get(people.QueryWhy))
	if err != nil {
		return answer{}, err
	}
	from, err := s.Service.ForceUnlock(ctx, c.uid, c.r.URL.Query().Get(people.QueryID), by)
	if err != nil {
		return answer{}, err
	}
	return answerJSON(people.Released{Released: from})
}

// actor is the caller, who must say why.
func (c call) actor(why string) (state.Actor, error) {
	c.told.why = why[:min(len(why), people.MaxWhy)]
	if why == "" || len(why) > people.MaxWhy {
		return state.Actor{}, fmt.Errorf("%w: say why, in at most %d bytes: it is kept with what you do",
			state.ErrInvalid, people.MaxWhy)
	}
	return state.Actor{Name: c.id.Person, Why: why}, nil
}

func answerVersion(v state.Version, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	a, err := answerJSON(v)
	a.version = v
	return a, err
}
