package state

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/plumbline-dev/plumbline/driver/job"
)

const (
	// maxLog is how much text of one Run's log a server archives, less what the Run has dropped. A driver of ours never
	// comes near it.
	maxLog = 2 * (job.LogHead + job.LogTail)
	// maxLogs bounds how many Runs are remembered.
	maxLogs = 10_000
)

// logSizes are how much of each Run's log this server has archived. It is safe for concurrent use.
type logSizes struct {
	mu sync.Mutex
	of map[RunID]int
}

// grow counts what a Run archives, or refuses it.
func (l *logSizes) grow(id RunID, by int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	size := max(0, l.of[id]+by)
	if size > maxLog {
		return fmt.Errorf("%w: no more than %d bytes of a Run's log are kept: drop some", ErrInvalid, maxLog)
	}
	if l.of == nil || len(l.of) >= maxLogs {
		l.of = map[RunID]int{}
	}
	l.of[id] = size
	return nil
}

// LogRange is a part of a log by the numbers of its chunks: those after After, up to Until.
type LogRange struct{ After, Until int }

// WholeLog is all of a log.
var WholeLog = LogRange{After: -1, Until: job.MaxChunks}

// LogEnd returns the number of a log's last chunk, or ErrNotFound when the Run has archived none.
func (s *Service) LogEnd(ctx context.Context, id RunID) (int, error) {
	numbers, err := s.chunkNumbers(ctx, id)
	if err != nil {
		return 0, err
	}
	if len(numbers) == 0 {
		return 0, fmt.Errorf("the log of run %s: %w", id.Run, ErrNotFound)
	}
	return numbers[len(numbers)-1], nil
}

// RunLog returns a part of a Run's log as one text, in which a line tells of each gap, or ErrNotFound when the Run has
// archived none. It is fetched from the store as it is read, a chunk at a time.
func (s *Service) RunLog(ctx context.Context, id RunID, part LogRange) (io.Reader, error) {
	numbers, err := s.chunkNumbers(ctx, id)
	if err != nil {
		return nil, err
	}
	if len(numbers) == 0 {
		return nil, fmt.Errorf("the log of run %s: %w", id.Run, ErrNotFound)
	}
	r := &logReader{chunk: func(n int) (job.Chunk, error) { return s.chunk(ctx, id, n) }}
	first, _ := slices.BinarySearch(numbers, part.After+1)
	end, _ := slices.BinarySearch(numbers, part.Until+1)
	r.numbers = numbers[first:max(first, end)]
	if part.After >= 0 && len(r.numbers) > 0 {
		err = r.resume(part.After)
	}
	return r, err
}

// resume goes on behind a chunk that was read before.
func (r *logReader) resume(after int) error {
	before, err := r.chunk(after)
	if errors.Is(err, ErrNotFound) {
		// Dropped meanwhile, and what came after it as well: the next one tells where it stands.
		before, err = r.chunk(r.numbers[0])
		before.Text = nil
	}
	if err != nil {
		return err
	}
	r.at = before.Offset + int64(len(before.Text))
	if n := len(before.Text); n > 0 {
		r.last = before.Text[n-1]
	}
	return nil
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
