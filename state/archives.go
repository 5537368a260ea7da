package state

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// NoRunUID is the UID of what a server of a former release has archived by the name alone.
const NoRunUID = "none"

// ArchivedRun is a Run of which something is archived; the Run itself may be gone.
type ArchivedRun struct {
	Run string `json:"run"`
	// UID is the Run's, NoRunUID for what was archived by the name alone.
	UID string `json:"uid"`
	// Seen is the day on which it was first seen, from which its age counts; empty in its first hour or so.
	Seen string `json:"seen,omitempty"`
}

// ArchivedRuns lists the Runs of a Workspace of which something is archived, the newest first.
func (s *Service) ArchivedRuns(ctx context.Context, uid string) ([]ArchivedRun, error) {
	found, err := s.archivedBelow(ctx, archiveOf(uid))
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(found, func(a, b ArchivedRun) int {
		if a.Seen == "" || b.Seen == "" {
			return cmp.Compare(a.Seen, b.Seen)
		}
		return cmp.Compare(b.Seen, a.Seen)
	})
	return found, nil
}

func (s *Service) archivedBelow(ctx context.Context, prefix string) ([]ArchivedRun, error) {
	keys, err := s.Store.List(ctx, prefix)
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", prefix, err)
	}
	found := []ArchivedRun{}
	for _, a := range archives(keys) {
		folder := strings.Split(a.dir, "/")[2]
		if folder+"/" == removalDir {
			continue
		}
		run, uid, _ := strings.Cut(folder, uidMark)
		found = append(found, ArchivedRun{Run: run, UID: cmp.Or(uid, NoRunUID), Seen: a.seen})
	}
	return found, nil
}

// ArchiveOf returns where the archive is of a Run that there is, and that was created at that time: in its own place,
// or in that of its name, where a server of a former release wrote it. The latter may be a former Run's. It isn't
// looked at once anything is archived with the UID of a Run of the name, for all of them write with theirs by then, nor
// when it was seen on a day before the Run was created.
func (s *Service) ArchiveOf(ctx context.Context, id RunID, created time.Time) (RunID, error) {
	if err := id.check(); err != nil {
		return RunID{}, err
	}
	withUID, err := s.archivedBelow(ctx, id.anyUID())
	if err != nil || len(withUID) > 0 {
		return id, err
	}
	old, err := s.archivedBelow(ctx, id.byName().dir())
	if err != nil || len(old) == 0 {
		return id, err
	}
	if seen := old[0].Seen; seen != "" && seen < created.UTC().Format(dayFormat) {
		return id, nil
	}
	return id.byName(), nil
}

// FindArchive returns the archive of a Run that may be gone. Its UID may be left out as long as one Run of the name has
// an archive.
func (s *Service) FindArchive(ctx context.Context, id RunID) (RunID, error) {
	if err := id.check(); err != nil {
		return RunID{}, err
	}
	if id.RunUID == "" {
		var err error
		if id.RunUID, err = s.onlyUID(ctx, id); err != nil {
			return RunID{}, err
		}
	}
	if id.RunUID == NoRunUID {
		return id.byName(), nil
	}
	return id, nil
}

// onlyUID is that of the one Run of a name of which something is archived.
func (s *Service) onlyUID(ctx context.Context, id RunID) (string, error) {
	withUID, err := s.archivedBelow(ctx, id.anyUID())
	if err != nil {
		return "", err
	}
	old, err := s.archivedBelow(ctx, id.byName().dir())
	if err != nil {
		return "", err
	}
	var uids []string
	for _, a := range slices.Concat(withUID, old) {
		uids = append(uids, a.UID)
	}
	switch len(uids) {
	case 0:
		return "", fmt.Errorf("%w: nothing is archived of run %s", ErrNotFound, id.Run)
	case 1:
		return uids[0], nil
	}
	return "", fmt.Errorf("%w: several Runs had the name %s: say by its UID which one is meant, of %s",
		ErrConflict, id.Run, strings.Join(uids, ", "))
}
