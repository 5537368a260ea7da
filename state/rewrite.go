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
		again  func(record) ([]byte, error)
	}{
		{"lock/", sameNonced}, {"unsaved/", sameNonced}, {"state/", sameVersion}, {"outputs/", func(r record) ([]byte, error) { return r.data, nil }},
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

func (s *Service) rewrite(
	ctx context.Context, j journal, fine func(context.Context, string) (bool, error), again func(record) ([]byte, error),
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
func (s *Service) repeat(ctx context.Context, j journal, number uint64, again func(record) ([]byte, error)) error {
	return s.apply(ctx, change{journal: j, keep: MaxKeepVersions, data: func(last record) ([]byte, error) {
		if last.n > number {
			return nil, errSettled
		}
		return again(last)
	}})
}

// sameNonced is a record in JSON with another nonce, for journals rely on each being unlike any other.
func sameNonced(r record) ([]byte, error) {
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

func sameVersion(r record) ([]byte, error) {
	head, data, err := decodeVersion(r)
	if err != nil {
		return nil, err
	}
	head.Version = head.copied()
	return encodeVersion(head, data)
}
