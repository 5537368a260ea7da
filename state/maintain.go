package state

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
)

// pruneLater has old records deleted now and then. When the queue is full the next writes will ask again.
func (s *Service) pruneLater(r record, p prune) {
	if r.n%pruneEvery != 0 {
		return
	}
	select {
	case s.prunes <- p:
	default:
	}
}

// Maintain prunes old records until ctx ends. It works off the path of requests: nobody waits for it.
func (s *Service) Maintain(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-s.prunes:
			s.prune(ctx, p)
		}
	}
}

func (s *Service) prune(ctx context.Context, p prune) {
	ctx, cancel := context.WithTimeout(ctx, pruneTimeout)
	defer cancel()
	pruned, err := s.pruneNow(ctx, p)
	if p.journal.ofStates() {
		s.metrics.version(versionPruned, pruned)
	}
	if err != nil && ctx.Err() == nil {
		s.Log.WarnContext(ctx, "pruning failed; a later write tries again", "journal", p.journal.dir, "error", err)
	}
}

func (s *Service) pruneNow(ctx context.Context, p prune) (int, error) {
	if !p.journal.ofStates() {
		return p.journal.prune(ctx, p.keep)
	}
	last, err := p.journal.newest(ctx)
	if err != nil {
		return 0, err
	}
	head, _, err := decodeVersion(last)
	if err != nil {
		return 0, err // a journal whose newest record can't be read stays as it is
	}
	numbers, err := p.journal.list(ctx)
	if err != nil {
		return 0, err
	}
	k := kept{versions: p.keep}
	if p.age > 0 {
		k.since = s.Clock.Now().Add(-p.age)
	}
	old, _ := slices.BinarySearch(numbers, head.keptFrom(numbers, k))
	if old == 0 {
		return 0, nil
	}
	return old, p.journal.pruneOnly(ctx, numbers[:old])
}

// tidy prunes the states of all Workspaces by age.
func (s *Service) tidy(ctx context.Context) error {
	dirs, err := s.journals(ctx, statesDir)
	if err != nil {
		return fmt.Errorf("looking for old versions: %w", err)
	}
	for _, dir := range dirs {
		s.prune(ctx, prune{journal: s.journalAt(dir), keep: s.KeepVersions, age: s.KeepAge})
	}
	return ctx.Err()
}

// journals returns the journals under a prefix.
func (s *Service) journals(ctx context.Context, prefix string) ([]string, error) {
	keys, err := s.Store.List(ctx, prefix)
	if err != nil {
		return nil, err
	}
	dirs := map[string]bool{}
	for _, key := range keys {
		dirs[path.Dir(key)] = true
	}
	return slices.Sorted(maps.Keys(dirs)), nil
}
