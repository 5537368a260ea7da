package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// The archive keeps what Runs leave behind, below archive/<workspace's uid>/<run>/:
//
//	log/<n>          the log in chunks, as job.Chunk packs them
//	plan, plan.json, plan.txt, outputs, result, accessors
//	seen/<day>       the day on which the sweep first saw it: what its age counts from (see retention.go)
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
}

func (id RunID) check() error {
	if id.UID == "" || id.Run == "" || strings.Contains(id.UID+id.Run, "/") {
		return fmt.Errorf("%w: a workspace's UID and a run are needed", ErrInvalid)
	}
	return nil
}

func (id RunID) dir() string { return archiveOf(id.UID) + id.Run + "/" }

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

// PutChunk archives a piece of a log.
func (s *Service) PutChunk(ctx context.Context, id RunID, c NewChunk) error {
	if err := errors.Join(id.check(), c.check()); err != nil {
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

func (c NewChunk) check() error {
	if c.N < 0 || c.N >= job.MaxChunks {
		return fmt.Errorf("%w: there is no chunk %d", ErrInvalid, c.N)
	}
	if c.DropFrom < 0 || c.DropTo < c.DropFrom || c.DropTo > c.N || c.DropTo-c.DropFrom > maxDrop {
		return fmt.Errorf("%w: chunks %d to %d can't be dropped with chunk %d", ErrInvalid, c.DropFrom, c.DropTo, c.N)
	}
	if _, err := job.UnpackChunk(c.Packed); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

// parts are what may be archived beside the log.
var parts = []string{
	job.PartPlan, job.PartPlanJSON, job.PartPlanText, job.PartOutputs, job.PartResult, job.PartAccessors,
}

// PutPart archives one of the job.Part... of a Run.
func (s *Service) PutPart(ctx context.Context, id RunID, part string, data []byte) error {
	if err := id.checkPart(part); err != nil {
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
		err = fmt.Errorf("%w: %s", ErrArchiveDamaged, err)
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

// ArchivedChunk is a piece of a log with its number.
type ArchivedChunk struct {
	N int
	job.Chunk
}

// Chunks returns the chunks of a log from a number on, in their order; each is read when it is asked for. A Run that
// has archived none has none: whether it has a log at all, RunLog tells.
func (s *Service) Chunks(ctx context.Context, id RunID, from int) iter.Seq2[ArchivedChunk, error] {
	return func(yield func(ArchivedChunk, error) bool) {
		numbers, err := s.chunkNumbers(ctx, id)
		if err != nil {
			yield(ArchivedChunk{}, err)
			return
		}
		first, _ := slices.BinarySearch(numbers, from)
		for _, n := range numbers[first:] {
			c, err := s.chunk(ctx, id, n)
			if errors.Is(err, ErrNotFound) {
				continue // dropped meanwhile: the offset of the next one tells
			}
			if !yield(ArchivedChunk{n, c}, err) || err != nil {
				return
			}
		}
	}
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

// RunLog returns a Run's log as one text, in which a line tells of each gap, or ErrNotFound. It is fetched from the
// store as it is read, a chunk at a time.
func (s *Service) RunLog(ctx context.Context, id RunID) (io.Reader, error) {
	numbers, err := s.chunkNumbers(ctx, id)
	if err != nil {
		return nil, err
	}
	if len(numbers) == 0 {
		return nil, fmt.Errorf("the log of run %s: %w", id.Run, ErrNotFound)
	}
	return &logReader{numbers: numbers, chunk: func(n int) (job.Chunk, error) { return s.chunk(ctx, id, n) }}, nil
}

// logReader puts chunks together.
type logReader struct {
	numbers []int
	chunk   func(n int) (job.Chunk, error)
	// at is how much of the log has gone by, read or missing.
	at   int64
	text []byte
	last byte
}

func (r *logReader) Read(p []byte) (int, error) {
	for len(r.text) == 0 {
		if len(r.numbers) == 0 {
			return 0, io.EOF
		}
		c, err := r.chunk(r.numbers[0])
		if err != nil && !errors.Is(err, ErrNotFound) {
			return 0, err
		}
		r.numbers = r.numbers[1:]
		if err == nil {
			r.text = r.join(c)
		}
	}
	n := copy(p, r.text)
	r.text = r.text[n:]
	return n, nil
}

// join returns what is to be read for a chunk: its text, after a line about what is missing before it.
func (r *logReader) join(c job.Chunk) []byte {
	text, missing := c.Text, c.Offset-r.at
	if missing < 0 {
		text = text[min(-missing, int64(len(text))):]
	}
	r.at = max(r.at, c.Offset+int64(len(c.Text)))
	if missing > 0 {
		text = append(r.gap(missing), text...)
	}
	if len(text) > 0 {
		r.last = text[len(text)-1]
	}
	return text
}

// gap is a line of its own, whatever was before it.
func (r *logReader) gap(missing int64) []byte {
	line := fmt.Appendf(nil, "... %d bytes of the log were not kept ...\n", missing)
	if r.last != 0 && r.last != '\n' {
		line = append([]byte{'\n'}, line...)
	}
	return line
}
