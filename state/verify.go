package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// Finding is a key, and what is wrong with it.
type Finding struct {
	Key, What string
}

// Findings are what Verify has found.
type Findings struct {
	// Values are how many were opened.
	Values int
	// Damaged can't be read as what they are; of those that Kept names, somebody has gone on behind them already.
	Damaged, Kept []Finding
	// Orphaned is what is kept of Workspaces that there are no more.
	Orphaned []Finding
	// Unreferenced is what nothing needs.
	Unreferenced []Finding
}

// Workspaces tells whether there still is a Workspace.
type Workspaces func(ctx context.Context, uid string) (bool, error)

// Verify opens every value of the store and reads it as what it is. It changes nothing. Without workspaces it looks for
// no orphans.
func (s *Service) Verify(ctx context.Context, workspaces Workspaces) (Findings, error) {
	keys, err := s.Store.List(ctx, "")
	if err != nil {
		return Findings{}, fmt.Errorf("listing the store: %w", err)
	}
	v := &verifying{Service: s, aside: map[string]bool{}, uids: map[string]bool{}}
	for _, key := range keys {
		if of, ok := strings.CutPrefix(key, asideDir); ok {
			v.aside[asideFrom(of)] = true
		}
	}
	for _, key := range keys {
		if err := v.look(ctx, key); err != nil {
			return v.found, err
		}
	}
	for _, key := range keys {
		delete(v.aside, key)
	}
	for _, key := range slices.Sorted(maps.Keys(v.aside)) {
		v.found.Unreferenced = append(v.found.Unreferenced, Finding{key, "is noted as damaged and kept, and isn't there"})
	}
	if workspaces != nil {
		err = v.orphans(ctx, workspaces)
	}
	return v.found, err
}

// asideFrom is the key of a record from that of the note that it is kept, behind asideDir.
func asideFrom(note string) string {
	of, n := path.Split(note)
	of, kind := path.Split(path.Clean(of))
	return kind + "/" + of + n
}

type verifying struct {
	*Service
	found Findings
	aside map[string]bool
	uids  map[string]bool
}

// look opens one value.
func (v *verifying) look(ctx context.Context, key string) error {
	kind, rest, _ := strings.Cut(key, "/")
	if left, ok := bare[kind]; ok {
		if left != "" {
			v.found.Unreferenced = append(v.found.Unreferenced, Finding{key, left})
		}
		return nil
	}
	if uid, name, ok := strings.Cut(rest, "/"); ok && ofWorkspaces(kind) && !strings.HasPrefix(name, removalDir) {
		v.uids[uid] = true
	}
	data, err := v.Store.Get(ctx, key)
	if errors.Is(err, ErrNotFound) {
		return nil // it went meanwhile
	}
	if err == nil {
		v.found.Values++
		err = v.read(ctx, key, data)
	}
	if err == nil {
		return nil
	}
	if !errors.Is(err, ErrDamaged) {
		return fmt.Errorf("reading %s: %w", key, err)
	}
	f := Finding{key, err.Error()}
	if v.aside[key] {
		v.found.Kept = append(v.found.Kept, f)
	} else {
		v.found.Damaged = append(v.found.Damaged, f)
	}
	return nil
}

// ofWorkspaces tells whether keys of the kind have a Workspace's UID behind it. That a removal was allowed is known for
// longer than anything of the Workspace is kept. What is noted as damaged is there under its own key, too.
func ofWorkspaces(kind string) bool {
	return !slices.Contains([]string{namesDir, sweepDir, asideDir}, kind+"/")
}

// bare are the kinds of keys whose values aren't sealed, and what is wrong with those that a store should not have.
var bare = map[string]string{
	"seal":  "", // keys are proven by opening what is sealed with them
	"store": "", // its ID is proven at the start
	"probe": "a server that was killed as it started has left it",
	"copy":  "a copy into this store was begun and isn't finished",
}

// read takes a value for what its key says it is.
func (v *verifying) read(ctx context.Context, key string, data []byte) error {
	kind, rest, _ := strings.Cut(key, "/")
	uid, name, _ := strings.Cut(rest, "/")
	n, numberErr := strconv.ParseUint(name, 10, 64)
	r := record{n: n, data: data}
	switch kind {
	case "name": // name/<namespace>/<name>/<n>
		i := strings.LastIndex(key, "/")
		r.n, _ = strconv.ParseUint(key[i+1:], 10, 64)
		_, err := decodeName(r)
		return err
	case "state", "lock", "outputs", "unsaved", "made", "owner":
		if numberErr != nil {
			return fmt.Errorf("%w: its name is no number", ErrDamaged)
		}
		if n == 0 {
			return nil // the mark of a journal that was pruned
		}
		return v.readRecord(ctx, v.journalAt(kind+"/"+uid), r)
	case "archive":
		_, part, _ := strings.Cut(name, "/")
		if strings.HasPrefix(part, "log/") {
			if _, err := job.UnpackChunk(data); err != nil {
				return fmt.Errorf("%w: a piece of a log: %w", ErrDamaged, err)
			}
		}
	}
	return nil
}

func (v *verifying) readRecord(ctx context.Context, j journal, r record) error {
	var err error
	switch {
	case j.ofStates():
		err = v.readVersion(ctx, j, r)
	case strings.HasPrefix(j.dir, "lock/"):
		_, err = decodeLock(r)
	case strings.HasPrefix(j.dir, "unsaved/"):
		_, err = decodeUnsaved(r)
	case strings.HasPrefix(j.dir, "made/"):
		_, err = decodeMade(r)
	case strings.HasPrefix(j.dir, ownersDir):
		_, err = decodeOwner(r)
	case len(r.data) > 0 && !json.Valid(r.data):
		err = fmt.Errorf("%w: outputs that are no JSON", ErrDamaged)
	}
	return err
}

// readVersion also compares the content with its digest, which isn't done each time that a state is read.
func (v *verifying) readVersion(ctx context.Context, j journal, r record) error {
	head, data, err := decodeVersion(r)
	if err != nil {
		return err
	}
	if head.fence {
		return v.readFence(ctx, j, r, head)
	}
	if got := digest(data); got != head.Digest {
		return fmt.Errorf("%w: version %d has the digest %s and should have %s", ErrDamaged, r.n, got, head.Digest)
	}
	if len(data) > 0 && !json.Valid(data) {
		return fmt.Errorf("%w: version %d is no JSON", ErrDamaged, r.n)
	}
	return nil
}

// readFence minds what a fence stands for while it is the newest; after that it stands for nothing.
func (v *verifying) readFence(ctx context.Context, j journal, r record, head versionHead) error {
	numbers, err := j.list(ctx)
	if err != nil || len(numbers) == 0 || numbers[len(numbers)-1] != r.n || head.Number == 0 {
		return err
	}
	if _, there := slices.BinarySearch(numbers, head.Number); !there {
		return fmt.Errorf("%w: version %d, which it stands for, is gone", ErrDamaged, head.Number)
	}
	return nil
}

func (v *verifying) orphans(ctx context.Context, workspaces Workspaces) error {
	for _, uid := range slices.Sorted(maps.Keys(v.uids)) {
		there, err := workspaces(ctx, uid)
		if err != nil {
			return fmt.Errorf("looking for the workspace %s: %w", uid, err)
		}
		if !there {
			v.found.Orphaned = append(v.found.Orphaned, Finding{uid, "there is no Workspace of this UID"})
		}
	}
	return nil
}
