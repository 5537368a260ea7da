package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// What is kept of a Workspace that was deleted stays for a while (Options.KeepDeleted), so that somebody who finds out
// too late can still read its states, or take them over. deleted/<uid> says since when.

const deletedDir = "deleted/"

// deletion is the value under deleted/<uid>.
type deletion struct {
	Owner
	At time.Time `json:"at"`
}

// markDeleted lets all that is kept of a UID go, in its time. It returns ErrNotFound when that was said before.
func (s *Service) markDeleted(ctx context.Context, o Owner) error {
	owner, err := s.OwnerOf(ctx, o.UID)
	if err != nil {
		return err
	}
	if owner.Exists() {
		o = owner.Owner
	}
	data, err := encode(deletion{Owner: o, At: s.Clock.Now().UTC()})
	if err != nil {
		return err
	}
	err = s.Store.Create(ctx, deletedDir+o.UID, data)
	if errors.Is(err, ErrExists) {
		return fmt.Errorf("workspace %s: %w", o.UID, ErrNotFound)
	}
	return err
}

// deletedAt is when a UID's Workspace was deleted; the zero time when it was not.
func (s *Service) deletedAt(ctx context.Context, uid string) (time.Time, error) {
	d, err := s.readDeletion(ctx, deletedDir+uid)
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return d.At, err
}

func (s *Service) readDeletion(ctx context.Context, key string) (deletion, error) {
	var d deletion
	data, err := s.Store.Get(ctx, key)
	if err != nil {
		return d, fmt.Errorf("reading when a Workspace was deleted: %w", err)
	}
	if err := json.Unmarshal(data, &d); err != nil {
		return d, fmt.Errorf("%w: %s is no record of a deletion: %w", ErrDamaged, key, err)
	}
	return d, nil
}

// eraseDeleted removes what is kept of Workspaces that were deleted long enough ago. What can't be read stays.
func (s *Service) eraseDeleted(ctx context.Context) error {
	keys, err := s.Store.List(ctx, deletedDir)
	if err != nil {
		return fmt.Errorf("listing what was deleted: %w", err)
	}
	var failed []error
	for _, key := range keys {
		if err := s.eraseIfOld(ctx, key); err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

func (s *Service) eraseIfOld(ctx context.Context, key string) error {
	d, err := s.readDeletion(ctx, key)
	if errors.Is(err, ErrNotFound) {
		return nil // another server was faster
	}
	if err != nil || s.Clock.Now().Sub(d.At) < s.KeepDeleted {
		return err
	}
	d.UID = strings.TrimPrefix(key, deletedDir)
	why, err := s.neededSince(ctx, d)
	if err != nil {
		return err
	}
	if why != "" {
		s.Log.WarnContext(ctx, "a deleted Workspace's states stay", "why", why, "namespace", d.Namespace,
			"workspace", d.Name, "uid", d.UID, "deleted", d.At)
		return s.Store.Delete(ctx, key)
	}
	s.Log.InfoContext(ctx, "a deleted Workspace's states go", "namespace", d.Namespace, "workspace", d.Name, "uid", d.UID,
		"deleted", d.At)
	if err := s.erase(ctx, d.Owner); err != nil {
		return err
	}
	return s.Store.Delete(ctx, key)
}

// neededSince says why what is kept of a deleted Workspace has to stay after all; empty when it may go. A cluster that
// is put back to where it was before the deletion has the Workspace again, under the same UID.
func (s *Service) neededSince(ctx context.Context, d deletion) (string, error) {
	if err := inUseIf(errors.Join(s.NoneUnsaved(ctx, d.UID), s.NothingMade(ctx, d.UID))); err != nil {
		if errors.Is(err, ErrInUse) {
			return err.Error(), nil
		}
		return "", err
	}
	v, _, err := s.Newest(ctx, d.UID)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return "", err
	}
	if v.At.After(d.At) {
		return fmt.Sprintf("version %d was written%s, after the deletion", v.Number, written(v.At)), nil
	}
	owner, err := s.OwnerOf(ctx, d.UID)
	if err != nil || owner.TakenBy == "" {
		return "", err
	}
	half, err := s.halfTaken(ctx, owner.TakenBy, d.UID)
	if half {
		return fmt.Sprintf("UID %s is taking it over, and hasn't got it yet", owner.TakenBy), err
	}
	return "", err
}

// halfTaken tells whether a UID has begun to take over another's state, and has none itself yet.
func (s *Service) halfTaken(ctx context.Context, by, from string) (bool, error) {
	owner, err := s.OwnerOf(ctx, by)
	if err != nil || owner.From != from {
		return false, err
	}
	_, _, err = s.Newest(ctx, by)
	if errors.Is(err, ErrNotFound) {
		return true, nil
	}
	return false, err
}
