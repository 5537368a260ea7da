package job

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// The names under which the state service archives what a Run leaves beside its log.
const (
	// PartPlan is the plan as Terraform saved it.
	PartPlan = "plan"
	// PartPlanJSON is `terraform show -json` of it.
	PartPlanJSON = "plan.json"
	// PartPlanText is `terraform show` of it.
	PartPlanText = "plan.txt"
	// PartOutputs are the outputs that the Run has stored.
	PartOutputs = "outputs"
	// PartResult is the Result.
	PartResult = "result"
)

const (
	// MaxChunk is how many bytes of a log one Chunk holds at most.
	MaxChunk = 256 << 10
	// MaxPackedChunk is how long Pack's answer is at most: what can't be packed grows a little.
	MaxPackedChunk = MaxChunk + 4<<10
	// maxOffset is beyond any log, and far from where numbers end.
	maxOffset = 1 << 60
	// LogHead is how many bytes of a log's beginning are kept whatever comes after them, give or take a Chunk.
	LogHead = 8 << 20
	// LogTail is how many of its end are.
	LogTail = 8 << 20
	// MaxChunks is how many Chunks a log may have.
	MaxChunks = 1_000_000
)

// Chunk is a piece of a Run's log. It says where in the log it stands, so that a reader notices, and can say, how much
// is missing before it.
type Chunk struct {
	Offset int64
	Text   []byte
}

// ErrChunk is returned for what is not a Chunk.
var ErrChunk = errors.New("not a chunk of a log")

// Pack makes the form in which a Chunk travels and is stored: gzip, with the offset as its comment.
func (c Chunk) Pack() ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		return nil, fmt.Errorf("packing a chunk: %w", err)
	}
	w.Comment = strconv.FormatInt(c.Offset, 10)
	_, err = w.Write(c.Text)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("packing a chunk: %w", err)
	}
	return b.Bytes(), nil
}

// UnpackChunk reads what Pack made, and nothing that holds more than a Chunk may.
func UnpackChunk(packed []byte) (Chunk, error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return Chunk{}, fmt.Errorf("%w: %w", ErrChunk, err)
	}
	offset, err := strconv.ParseInt(r.Comment, 10, 64)
	if err != nil || offset < 0 || offset > maxOffset {
		return Chunk{}, fmt.Errorf("%w: its offset is %q", ErrChunk, r.Comment)
	}
	text, err := io.ReadAll(io.LimitReader(r, MaxChunk+1))
	if err != nil {
		return Chunk{}, fmt.Errorf("%w: %w", ErrChunk, err)
	}
	if len(text) > MaxChunk {
		return Chunk{}, fmt.Errorf("%w: it holds more than %d bytes", ErrChunk, MaxChunk)
	}
	return Chunk{Offset: offset, Text: text}, nil
}
