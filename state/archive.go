package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// The archive keeps what Runs leave behind, below archive/<workspace's uid>/<run>~<run's uid>/:
//
//	log/<n>          the log in chunks, as job.Chunk packs them
//	plan, plan.json, plan.txt, outputs, result, accessors
//	seen/<day>       the day on which the sweep first saw it: what its age counts from (see retention.go)
//
// Names are used again and UIDs are not. Servers of a former release wrote by the name alone, to <run>/; archives.go
// says who is shown that. No name has a ~, and to their sweep <run>~<uid> is a Run like any other.
//
// Everything is written once and never changed, so that a repeated request finds it done. A log that grows beyond what
// the driver keeps of it loses chunks from its middle, never from its end; the reader says how much is missing.

var (
	// ErrArchived is returned for something else than what is archived already.
	ErrArchived = errors.New("something else is archived already")
	// ErrArchiveDamaged is returned for what is archived and can't be read. No state is worse off for it, so it is not
	// ErrDamaged.
	ErrArchiveDamaged = errors.New("what is archived is damaged")
)

// RunID names a Run's archive.
type RunID struct {
	// UID is the Workspace's.
	UID string
	Run string
	// RunUID is the Run's own; empty for what a server of a former release wrote by the Run's name.
	RunUID string
}

func (id RunID) check() error {
	if id.UID == "" || id.Run == "" || strings.ContainsAny(id.UID+id.Run+id.RunUID, "/"+uidMark) {
		return fmt.Errorf("%w: a workspace's UID and a run are needed", ErrInvalid)
	}
	return nil
}

// checkNew is check for what is written, which is never by the name alone.
func (id RunID) checkNew() error {
	if id.RunUID == "" {
		return fmt.Errorf("%w: the run's UID is needed", ErrInvalid)
	}
	if longest := id.dir() + seenDir + dayFormat; len(longest) > MaxKey { // else the sweep would fail at it
		return fmt.Errorf("%w: the run's name is %d characters too long to archive anything of it",
			ErrInvalid, len(longest)-MaxKey)
	}
	return id.check()
}

// uidMark is between a Run's name and its UID.
const uidMark = "~"

func (id RunID) dir() string {
	if id.RunUID == "" {
		return archiveOf(id.UID) + id.Run + "/"
	}
	return id.anyUID() + id.RunUID + "/"
}

// anyUID is what the folders of all Runs of the name begin with, but for that of the name alone.
func (id RunID) anyUID() string { return archiveOf(id.UID) + id.Run + uidMark }

// byName is what a server of a former release has written for a Run of this name.
func (id RunID) byName() RunID { return RunID{UID: id.UID, Run: id.Run} }

func (id RunID) chunk(n int) string { return fmt.Sprintf("%slog/%06d", id.dir(), n) }

const archiveDir = "archive/"

func archiveOf(uid string) string { return archiveDir + uid + "/" }

// maxDrop bounds what one request deletes.
const maxDrop = 1024

// NewChunk is a chunk to be archived.
type NewChunk struct {
	N int
	// Packed is what job.Chunk packed.
	Packed []byte
	// DropFrom and DropTo name the chunks before this one that are not to be kept any longer: the first and the one after
	// the last. None when equal.
	DropFrom, DropTo int
}

// PutChunk archives a piece of a log. What a log may hold is the service's to say: its beginning can't be dropped any
// more, and a Run that has archived more than maxLog through this server, less what it has dropped, is refused.
func (s *Service) PutChunk(ctx context.Context, id RunID, c NewChunk) error {
	chunk, err := c.check()
	if err := errors.Join(id.checkNew(), err); err != nil {
		return err
	}
	dropped, err := s.droppable(ctx, id, c)
	if err != nil {
		return err
	}
	if err := s.logs.grow(id, len(chunk.Text)-dropped); err != nil {
		return err
	}
	if err := s.createOnce(ctx, id.chunk(c.N), c.Packed); err != nil {
		return err
	}
	for n := c.DropFrom; n < c.DropTo; n++ {
		if err := s.Store.Delete(ctx, id.chunk(n)); err != nil {
			return fmt.Errorf("dropping chunk %d: %w", n, err)
		}
	}
	return nil
}

// droppable tells how much text the chunks hold that are to be dropped; none of them may be of the log's beginning.
func (s *Service) droppable(ctx context.Context, id RunID, c NewChunk) (size int, err error) {
	for n := c.DropFrom; n < c.DropTo; n++ {
		old, err := s.chunk(ctx, id, n)
		switch {
		case errors.Is(err, ErrNotFound): // dropped before, by a request whose answer was lost
		case err != nil:
			return 0, err
		case old.Offset < job.LogHead:
			return 0, fmt.Errorf("%w: chunk %d is of the first %d bytes of the log, which are kept", ErrInvalid, n, job.LogHead)
		}
		size += len(old.Text)
	}
	return size, nil
}

func (c NewChunk) check() (job.Chunk, error) {
	if c.N < 0 || c.N >= job.MaxChunks {
		return job.Chunk{}, fmt.Errorf("%w: there is no chunk %d", ErrInvalid, c.N)
	}
	if c.DropFrom < 0 || c.DropTo < c.DropFrom || c.DropTo > c.N || c.DropTo-c.DropFrom > maxDrop {
		return job.Chunk{}, fmt.Errorf("%w: chunks %d to %d can't be dropped with chunk %d",
			ErrInvalid, c.DropFrom, c.DropTo, c.N)
	}
	chunk, err := job.UnpackChunk(c.Packed)
	if err != nil {
		return job.Chunk{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return chunk, nil
}

// parts are what may be archived beside the log.
var parts = []string{
	job.PartPlan, job.PartPlanJSON, job.PartPlanText, job.PartOutputs, job.PartResult, job.PartAccessors,
}

// PutPart archives one of the job.Part... of a Run.
func (s *Service) PutPart(ctx context.Context, id RunID, part string, data []byte) error {
	if err := errors.Join(id.checkPart(part), id.checkNew()); err != nil {
		return err
	}
	return s.createOnce(ctx, id.dir()+part, data)
}

// Part returns one of the job.Part... of a Run, or ErrNotFound.
func (s *Service) Part(ctx context.Context, id RunID, part string) ([]byte, error) {
	if err := id.checkPart(part); err != nil {
		return nil, err
	}
	data, err := s.getArchived(ctx, id.dir()+part)
	if err != nil {
		return nil, fmt.Errorf("reading the %s of run %s: %w", part, id.Run, err)
	}
	return data, nil
}

func (id RunID) checkPart(part string) error {
	if !slices.Contains(parts, part) {
		return fmt.Errorf("%w: a run has no %q", ErrInvalid, part)
	}
	return id.check()
}

func (s *Service) getArchived(ctx context.Context, key string) ([]byte, error) {
	data, err := s.Store.Get(ctx, key)
	if errors.Is(err, ErrDamaged) {
		err = fmt.Errorf("%w: %s", ErrArchiveDamaged, err.Error())
	}
	return data, err
}

// createOnce stores what isn't there yet. The same again is fine, because the first answer may have been lost.
func (s *Service) createOnce(ctx context.Context, key string, data []byte) error {
	err := s.Store.Create(ctx, key, data)
	if !errors.Is(err, ErrExists) {
		return err
	}
	stored, err := s.getArchived(ctx, key)
	if err != nil {
		return fmt.Errorf("looking at what is archived: %w", err)
	}
	if !bytes.Equal(stored, data) {
		return ErrArchived
	}
	return nil
}

func (s *Service) chunkNumbers(ctx context.Context, id RunID) ([]int, error) {
	if err := id.check(); err != nil {
		return nil, err
	}
	dir := id.dir() + "log/"
	keys, err := s.Store.List(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("listing the log of run %s: %w", id.Run, err)
	}
	numbers := make([]int, 0, len(keys))
	for _, key := range keys {
		n, err := strconv.Atoi(strings.TrimPrefix(key, dir))
		if err != nil {
			return nil, fmt.Errorf("listing the log of run %s: a key that is no number: %w", id.Run, err)
		}
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	return numbers, nil
}

func (s *Service) chunk(ctx context.Context, id RunID, n int) (job.Chunk, error) {
	packed, err := s.getArchived(ctx, id.chunk(n))
	if err != nil {
		return job.Chunk{}, fmt.Errorf("reading chunk %d of the log of run %s: %w", n, id.Run, err)
	}
	c, err := job.UnpackChunk(packed)
	if err != nil {
		return job.Chunk{}, fmt.Errorf("reading chunk %d of the log of run %s: %w", n, id.Run, err)
	}
	return c, nil
}
