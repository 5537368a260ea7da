package kube

import (
	"context"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Sweep removes chunks that no head names and that were made before the given time; it returns how many. The time must
// lie further back than any write takes, because a write's chunks are without a head until it ends.
func (s *Store) Sweep(ctx context.Context, before time.Time) (int, error) {
	chunks, err := s.list(ctx, client.MatchingLabels{labelPart: partChunk})
	if err != nil || len(chunks) == 0 {
		return 0, err
	}
	heads, err := s.list(ctx, client.MatchingLabels{labelPart: partHead})
	if err != nil {
		return 0, err
	}
	named := make(map[string]bool, len(heads))
	for i := range heads {
		if c := chunksOf(&heads[i]); len(c.names) > 0 {
			named[attemptOf(c.names[0])] = true
		}
	}
	swept := 0
	for i := range chunks {
		if named[attemptOf(chunks[i].Name)] || !chunks[i].CreationTimestamp.Time.Before(before) {
			continue
		}
		if err := s.client.Delete(ctx, s.named(chunks[i].Name)); client.IgnoreNotFound(err) != nil {
			return swept, fmt.Errorf("sweeping secret %s: %w", chunks[i].Name, err)
		}
		swept++
	}
	return swept, nil
}
