package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Purge removes all that is kept of a destroyed Workspace. It returns ErrInUse while the newest state still has
// resources, a live Run holds the lock, or a state waits to be stored, and ErrNotFound when nothing is kept.
func (s *Service) Purge(ctx context.Context, uid string) error {
	if uid == "" || strings.Contains(uid, "/") {
		return fmt.Errorf("%w: a workspace's UID is needed", ErrInvalid)
	}
	kept, err := s.purgeable(ctx, uid)
	if err != nil {
		return err
	}
	// The lock goes last: until then a second Purge still finds something and goes on.
	if err := s.eraseArchive(ctx, archiveOf(uid)); err != nil {
		return err
	}
	for _, j := range []journal{s.unsaved(uid), s.outputs(uid), s.states(uid), s.locks(uid)} {
		if err := j.erase(ctx); err != nil {
			return err
		}
	}
	if err := s.eraseArchive(ctx, asideOf(uid)); err != nil {
		return err
	}
	if !kept {
		return fmt.Errorf("workspace %s: %w", uid, ErrNotFound)
	}
	return nil
}

// purgeable tells whether anything is kept, or returns ErrInUse.
func (s *Service) purgeable(ctx context.Context, uid string) (bool, error) {
	lock, now, err := s.newestLock(ctx, uid)
	if errors.Is(err, ErrDamaged) {
		return false, fmt.Errorf("%w: %w", ErrInUse, err) // somebody may hold it
	}
	if err != nil {
		return false, err
	}
	if err := s.passable(ctx, now); err != nil {
		return false, fmt.Errorf("%w: %w", ErrInUse, err)
	}
	if err := s.NoneUnsaved(ctx, uid); err != nil {
		return false, inUseIf(err)
	}
	st, err := s.states(uid).newest(ctx)
	if err != nil {
		return false, err
	}
	_, data, err := s.Newest(ctx, uid)
	if errors.Is(err, ErrDamaged) {
		return false, fmt.Errorf("%w: %w", ErrInUse, err) // what can't be read isn't empty
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return false, err
	}
	n, err := countResources(data)
	if err != nil {
		return false, err
	}
	if n > 0 {
		return false, fmt.Errorf("%w: its state still has %d resources; destroy them first", ErrInUse, n)
	}
	out, err := s.outputs(uid).newest(ctx)
	return lock.n+st.n+out.n > 0, err
}

// inUseIf says of a state that waits to be stored that the Workspace is in use.
func inUseIf(err error) error {
	if errors.Is(err, ErrUnsaved) {
		return fmt.Errorf("%w: %w", ErrInUse, err)
	}
	return err
}

// countResources counts the managed resources of a state; data sources are not counted, they manage nothing.
func countResources(data []byte) (int, error) {
	if len(data) == 0 {
		return 0, nil
	}
	var st struct {
		Resources []struct {
			Mode      string            `json:"mode"`
			Instances []json.RawMessage `json:"instances"`
		} `json:"resources"`
	}
	if err := json.Unmarshal(data, &st); err != nil {
		return 0, fmt.Errorf("%w: its state can't be read: %w", ErrInUse, err)
	}
	n := 0
	for _, r := range st.Resources {
		if r.Mode != "data" {
			n += len(r.Instances)
		}
	}
	return n, nil
}
