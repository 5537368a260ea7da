package state

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	seenDir   = "seen/"
	dayFormat = "2006-01-02"
)

// EraseRun removes what is archived under a Run's name.
func (s *Service) EraseRun(ctx context.Context, id RunID) error {
	if err := id.check(); err != nil {
		return err
	}
	return errors.Join(s.eraseArchive(ctx, id.byName().dir()), s.eraseArchive(ctx, id.anyUID()))
}

// eraseArchive removes all keys that begin so. What a late request puts there meanwhile goes by its age.
func (s *Service) eraseArchive(ctx context.Context, dir string) error {
	keys, err := s.Store.List(ctx, dir)
	if err != nil {
		return fmt.Errorf("listing %s: %w", dir, err)
	}
	for _, key := range keys {
		if strings.Contains(strings.TrimPrefix(key, dir), removalDir) {
			continue // it outlives the rest
		}
		if err := s.Store.Delete(ctx, key); err != nil {
			return fmt.Errorf("deleting %s: %w", key, err)
		}
	}
	return nil
}

// sweepArchive notes the day on which it first sees an archive, in a key of its own so that a listing tells all ages
// and requests needn't, and removes those that have been there for longer than keep.
func (s *Service) sweepArchive(ctx context.Context, keep time.Duration) error {
	keys, err := s.Store.List(ctx, archiveDir)
	if err != nil {
		return fmt.Errorf("listing the archive: %w", err)
	}
	now := s.Clock.Now().UTC()
	oldest := now.Add(-keep).Format(dayFormat)
	for _, run := range archives(keys) {
		switch {
		case run.seen == "":
			err = s.createOnce(ctx, run.dir+seenDir+now.Format(dayFormat), nil)
		case run.seen < oldest:
			s.Log.InfoContext(ctx, "an archive is too old and goes", "archive", run.dir, "since", run.seen)
			err = s.eraseArchive(ctx, run.dir)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// archived is a Run's archive: its folder, and the first day it was seen, if it was.
type archived struct{ dir, seen string }

// archives finds the Runs in the sorted keys of the archive.
func archives(keys []string) []archived {
	var found []archived
	for _, key := range keys {
		part := strings.SplitN(strings.TrimPrefix(key, archiveDir), "/", 3)
		if len(part) < 3 {
			continue
		}
		dir := archiveDir + part[0] + "/" + part[1] + "/"
		if len(found) == 0 || found[len(found)-1].dir != dir {
			found = append(found, archived{dir: dir})
		}
		last := &found[len(found)-1]
		if day, ok := strings.CutPrefix(part[2], seenDir); ok && last.seen == "" {
			last.seen = day // the earliest, for the keys are sorted
		}
	}
	return found
}
