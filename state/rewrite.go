package state

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
)

// Rewrite stores anew what is fine no longer, as the store's wrapper tells. Records can't be overwritten: the newest
// one is appended again, and those up to the last that is not fine are pruned; older versions of a state go with them.
// It returns how many journals were rewritten. Requests go on meanwhile: whoever is first, the newest content stays.
func (s *Service) Rewrite(ctx context.Context, fine func(ctx context.Context, key string) (bool, error)) (int, error) {
	n := 0
	for _, kind := range []struct {
		prefix string
		again  repetition
	}{
		{"lock/", sameNonced}, {"unsaved/", sameNonced}, {"made/", sameNonced}, {statesDir, s.sameVersion},
		{"outputs/", sameOutputs},
	} {
		dirs, err := s.journals(ctx, kind.prefix)
		if err != nil {
			return n, fmt.Errorf("listing %s: %w", kind.prefix, err)
		}
		for _, dir := range dirs {
			changed, err := s.rewrite(ctx, s.journalAt(dir), fine, kind.again)
			if err != nil {
				return n, fmt.Errorf("rewriting %s: %w", dir, err)
			}
			if changed {
				n++
			}
		}
	}
	return n, nil
}

// repetition is a record that says what this one says.
type repetition = func(ctx context.Context, j journal, r record) ([]byte, error)

func (s *Service) rewrite(
	ctx context.Context, j journal, fine func(context.Context, string) (bool, error), again repetition,
) (bool, error) {
	numbers, err := j.list(ctx)
	if err != nil {
		return false, err
	}
	last := -1
	for i := len(numbers) - 1; i >= 0 && last < 0; i-- {
		ok, err := fine(ctx, j.key(numbers[i]))
		if err != nil {
			return false, err
		}
		if !ok {
			last = i
		}
	}
	if last < 0 {
		return false, nil
	}
	// A writer that hasn't looked yet whether the record before its own still stands must find it.
	for n := len(numbers) - last - 1; n < keepLeast; n++ {
		if err := s.repeat(ctx, j, numbers[last]+uint64(n), again); err != nil {
			return false, err
		}
	}
	return true, j.pruneOnly(ctx, numbers[:last+1])
}

// repeat appends what the newest record says, unless something came after number already.
func (s *Service) repeat(ctx context.Context, j journal, number uint64, again repetition) error {
	return s.apply(ctx, change{journal: j, keep: MaxKeepVersions, data: func(last record) ([]byte, error) {
		if last.n > number {
			return nil, errSettled
		}
		return again(ctx, j, last)
	}})
}

// sameNonced is a record in JSON with another nonce, for journals rely on each being unlike any other.
func sameNonced(_ context.Context, _ journal, r record) ([]byte, error) {
	if r.damaged != nil {
		return nil, r.damaged
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(r.data, &fields); err != nil {
		return nil, fmt.Errorf("decoding a record: %w", err)
	}
	nonce, err := json.Marshal(rand.Text())
	if err != nil {
		return nil, fmt.Errorf("encoding a record: %w", err)
	}
	fields["nonce"] = nonce
	b, err := json.Marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("encoding a record: %w", err)
	}
	return b, nil
}

func sameOutputs(_ context.Context, _ journal, r record) ([]byte, error) { return r.data, r.damaged }

// sameVersion is a version also where the record is a fence, for what that stands for may go.
func (s *Service) sameVersion(ctx context.Context, j journal, r record) ([]byte, error) {
	now, err := s.standing(j, r)
	if err != nil {
		return nil, err
	}
	data, err := now.content(ctx)
	if err != nil {
		return nil, err
	}
	now.head.Version = now.head.copied()
	return encodeVersion(now.head, data)
}
