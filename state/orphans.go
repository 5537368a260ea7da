package state

import (
	"context"
	"strings"
)

// KeptIn describes the states of a namespace's Workspaces, those that are gone among them.
func (s *Service) KeptIn(ctx context.Context, namespace string) ([]Kept, error) {
	dirs, err := s.journals(ctx, namesDir+namespace+"/")
	if err != nil {
		return nil, err
	}
	var uids []string
	for _, dir := range dirs {
		j := s.journalAt(dir)
		last, err := j.newest(ctx)
		if err != nil {
			return nil, err
		}
		var n nameRecord
		_, _, err = j.readable(ctx, last, func(r record) (err error) {
			n, err = decodeName(r)
			return err
		})
		if err != nil {
			return nil, err
		}
		uids = append(uids, n.UIDs...)
	}
	return s.describeKept(ctx, uids)
}

// KeptAnywhere describes all states, also those whose owner was never noted: they are from before that, and nobody
// wrote to them since.
func (s *Service) KeptAnywhere(ctx context.Context) ([]Kept, error) {
	dirs, err := s.journals(ctx, statesDir)
	if err != nil {
		return nil, err
	}
	uids := make([]string, 0, len(dirs))
	for _, dir := range dirs {
		uids = append(uids, strings.TrimPrefix(dir, statesDir))
	}
	return s.describeKept(ctx, uids)
}

func (s *Service) describeKept(ctx context.Context, uids []string) ([]Kept, error) {
	found := make([]Kept, 0, len(uids))
	for _, uid := range uids {
		k, err := s.keptFor(ctx, uid)
		if err != nil {
			return nil, err
		}
		if k == nil {
			continue
		}
		versions, err := s.Versions(ctx, uid)
		if err != nil {
			return nil, err
		}
		k.Versions = len(versions)
		found = append(found, *k)
	}
	return found, nil
}
