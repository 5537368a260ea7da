package state

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/plumbline-dev/plumbline/driver/job"
)

var run1 = RunID{UID: uid, Run: "vpn-1", RunUID: "r1"}

func packed(t testing.TB, offset int64, text string) []byte {
	t.Helper()
	b, err := job.Chunk{Offset: offset, Text: []byte(text)}.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readLog(t testing.TB, s *Service, id RunID) string {
	t.Helper()
	r, err := s.RunLog(t.Context(), id, WholeLog)
	if errors.Is(err, ErrNotFound) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestLogChunks(t *testing.T) {
	type put struct {
		n        int
		offset   int64
		text     string
		from, to int
		want     error
	}
	for _, test := range []struct {
		name string
		puts []put
		log  string
	}{
		{"none", nil, ""},
		{"one after another", []put{
			{0, 0, "a\n", 0, 0, nil}, {1, 2, "b\n", 0, 0, nil}, {2, 4, "c\n", 0, 0, nil},
		}, "a\nb\nc\n"},
		{"more than ten", func() (puts []put) {
			for n := range 11 {
				puts = append(puts, put{n, int64(n), strconv.Itoa(n % 10), 0, 0, nil})
			}
			return puts
		}(), "01234567890"},
		{"repeated", []put{{0, 0, "a\n", 0, 0, nil}, {0, 0, "a\n", 0, 0, nil}}, "a\n"},
		{"another under the same number", []put{{0, 0, "a\n", 0, 0, nil}, {0, 0, "b\n", 0, 0, ErrArchived}}, "a\n"},
		{"a gap", []put{{0, 0, "a\n", 0, 0, nil}, {1, 12, "b\n", 0, 0, nil}},
			"a\n... 10 bytes of the log were not kept ...\nb\n"},
		{"a gap in mid-line", []put{{0, 0, "a", 0, 0, nil}, {1, 9, "b\n", 0, 0, nil}},
			"a\n... 8 bytes of the log were not kept ...\nb\n"},
		{"no beginning", []put{{3, 7, "b\n", 0, 0, nil}}, "... 7 bytes of the log were not kept ...\nb\n"},
		{"dropped", []put{
			{0, job.LogHead, "a\n", 0, 0, nil}, {1, job.LogHead + 2, "b\n", 0, 0, nil}, {2, job.LogHead + 4, "c\n", 0, 0, nil},
			{3, job.LogHead + 6, "d\n", 1, 3, nil}, {3, job.LogHead + 6, "d\n", 1, 3, nil},
		}, "... 8388608 bytes of the log were not kept ...\na\n... 4 bytes of the log were not kept ...\nd\n"},
		{"overlapping", []put{{0, 0, "abc", 0, 0, nil}, {1, 2, "cd", 0, 0, nil}, {2, 0, "ab", 0, 0, nil}}, "abcd"},
		{"what can't be", []put{
			{-1, 0, "a", 0, 0, ErrInvalid}, {job.MaxChunks, 0, "a", 0, 0, ErrInvalid}, {1, 0, "a", 1, 2, ErrInvalid},
			{9, 0, "a", 3, 2, ErrInvalid}, {9, 0, "a", -1, 2, ErrInvalid}, {9999, 0, "a", 0, 2000, ErrInvalid},
			{0, -1, "a", 0, 0, ErrInvalid},
		}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newService(newFakeStore(), &pods{})
			for i, p := range test.puts {
				c := NewChunk{N: p.n, Packed: packed(t, p.offset, p.text), DropFrom: p.from, DropTo: p.to}
				if err := s.PutChunk(t.Context(), run1, c); !errors.Is(err, p.want) {
					t.Fatalf("%d: got %v, want %v", i, err, p.want)
				}
			}
			if got := readLog(t, s, run1); got != test.log {
				t.Errorf("got log %q, want %q", got, test.log)
			}
			if got := readLog(t, s, RunID{UID: uid, Run: "vpn-11", RunUID: "r1"}); got != "" {
				t.Errorf("another run has log %q", got)
			}
		})
	}
}

// TestTheRestOfALog: who follows a log is sent what came since, and told of what is missing in between.
func TestTheRestOfALog(t *testing.T) {
	s := newService(newFakeStore(), &pods{})
	put := func(n int, offset int64, text string) {
		t.Helper()
		if err := s.PutChunk(t.Context(), run1, NewChunk{N: n, Packed: packed(t, offset, text)}); err != nil {
			t.Fatal(err)
		}
	}
	rest := func(after int, want string) int {
		t.Helper()
		end, err := s.LogEnd(t.Context(), run1)
		if err != nil {
			t.Fatal(err)
		}
		put(end+100, 1<<30, "what comes meanwhile")
		log, err := s.RunLog(t.Context(), run1, LogRange{After: after, Until: end})
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(log); err != nil || string(text) != want {
			t.Errorf("after %d: got %q, %v, want %q", after, text, err, want)
		}
		if err := s.Store.Delete(t.Context(), run1.chunk(end+100)); err != nil {
			t.Fatal(err)
		}
		return end
	}
	put(0, 0, "a\n")
	put(1, 2, "b")
	at := rest(WholeLog.After, "a\nb")
	at = rest(at, "")
	put(2, 3, "b\n")
	put(4, 15, "c\n")
	at = rest(at, "b\n... 10 bytes of the log were not kept ...\nc\n")
	if err := s.Store.Delete(t.Context(), run1.chunk(at)); err != nil { // the tail goes on
		t.Fatal(err)
	}
	put(5, 30, "d\n")
	if last := rest(at, "d\n"); last != 5 {
		t.Errorf("the log ends at %d, want 5", last)
	}
}

// TestTheBeginningOfALogStays: what a Run said first can't be taken back, and it can't fill the store.
func TestTheBeginningOfALogStays(t *testing.T) {
	s := newService(newFakeStore(), &pods{})
	put := func(n int, offset int64, drop ...int) error {
		c := NewChunk{N: n, Packed: packed(t, offset, "text\n")}
		if len(drop) > 0 {
			c.DropFrom, c.DropTo = drop[0], drop[0]+1
		}
		return s.PutChunk(t.Context(), run1, c)
	}
	for n, offset := range []int64{0, 5, job.LogHead - 1, job.LogHead} {
		if err := put(n, offset); err != nil {
			t.Fatal(err)
		}
	}
	for n, want := range []error{ErrInvalid, ErrInvalid, ErrInvalid, nil, nil} {
		if err := put(10+n, job.LogHead+int64(100*n), n); !errors.Is(err, want) {
			t.Errorf("dropping chunk %d: got %v, want %v", n, err, want)
		}
	}
	full := newService(newFakeStore(), &pods{})
	for n := range maxLog / job.MaxChunk {
		c := NewChunk{N: n, Packed: packed(t, int64(n*job.MaxChunk), strings.Repeat("x", job.MaxChunk))}
		if err := full.PutChunk(t.Context(), run1, c); err != nil {
			t.Fatal(err)
		}
	}
	over := NewChunk{N: 1000, Packed: packed(t, maxLog, "x")}
	if err := full.PutChunk(t.Context(), run1, over); !errors.Is(err, ErrInvalid) {
		t.Errorf("one byte too many: got %v, want %v", err, ErrInvalid)
	}
	over.DropFrom, over.DropTo = 100, 101
	if err := full.PutChunk(t.Context(), run1, over); err != nil {
		t.Errorf("room was made: %v", err)
	}
}

func TestParts(t *testing.T) {
	s := newService(newFakeStore(), &pods{})
	const aUID = "0f2d6e2c-9d0c-4a44-8bb0-5b8a1dcbbd6f"
	longest := RunID{UID: aUID, Run: strings.Repeat("r", 158), RunUID: aUID}
	tooLong := RunID{UID: aUID, Run: longest.Run + "r", RunUID: aUID}
	for _, test := range []struct {
		id   RunID
		part string
		data string
		want error
	}{
		{run1, job.PartPlan, "PK", nil},
		{run1, job.PartPlan, "PK", nil},
		{run1, job.PartPlan, "KP", ErrArchived},
		{run1, job.PartResult, "{}", nil},
		{run1, "log/0", "x", ErrInvalid},
		{run1, "", "x", ErrInvalid},
		{RunID{UID: uid, RunUID: "r"}, job.PartPlan, "x", ErrInvalid},
		{RunID{UID: uid, Run: "a/b", RunUID: "r"}, job.PartPlan, "x", ErrInvalid},
		{RunID{UID: uid, Run: "a~b", RunUID: "r"}, job.PartPlan, "x", ErrInvalid},
		{RunID{UID: uid, Run: "a", RunUID: "b/c"}, job.PartPlan, "x", ErrInvalid},
		{RunID{UID: uid, Run: "a"}, job.PartPlan, "x", ErrInvalid},
		{longest, job.PartPlan, "x", nil},
		{tooLong, job.PartPlan, "x", ErrInvalid},
		{RunID{UID: "", Run: "a", RunUID: "r"}, job.PartPlan, "x", ErrInvalid},
	} {
		if err := s.PutPart(t.Context(), test.id, test.part, []byte(test.data)); !errors.Is(err, test.want) {
			t.Errorf("%v %s: got %v, want %v", test.id, test.part, err, test.want)
		}
	}
	if got, err := s.Part(t.Context(), run1, job.PartPlan); err != nil || string(got) != "PK" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := s.Part(t.Context(), run1, job.PartPlanJSON); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
}

// fill archives something for a Run.
func fill(t *testing.T, s *Service, id RunID) {
	t.Helper()
	err := errors.Join(
		s.PutChunk(t.Context(), id, NewChunk{Packed: packed(t, 0, id.Run)}),
		s.PutPart(t.Context(), id, job.PartPlan, []byte(id.Run)))
	if err != nil {
		t.Fatal(err)
	}
}

func TestEraseRun(t *testing.T) {
	store := newFakeStore()
	s := newService(store, &pods{})
	for _, run := range []string{"vpn-1", "vpn-11"} {
		fill(t, s, RunID{UID: uid, Run: run, RunUID: "r1"})
	}
	fill(t, s, RunID{UID: uid, Run: "vpn-1", RunUID: "r2"})
	must(t, store.Create(t.Context(), "archive/u/vpn-1/plan", nil))
	for range 2 {
		if err := s.EraseRun(t.Context(), run1); err != nil {
			t.Fatal(err)
		}
	}
	keys, _ := store.List(t.Context(), "")
	if diff := cmp.Diff([]string{"archive/u/vpn-11~r1/log/000000", "archive/u/vpn-11~r1/plan"}, keys); diff != "" {
		t.Errorf("what is left (-want +got):\n%s", diff)
	}
	if err := s.EraseRun(t.Context(), RunID{UID: uid}); !errors.Is(err, ErrInvalid) {
		t.Errorf("erasing the run without a name: %v", err)
	}
	if err := s.Purge(t.Context(), removal(uid)); !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	if keys, _ := store.List(t.Context(), ""); len(keys) != 0 {
		t.Errorf("after the workspace is purged there is %v", keys)
	}
}

func TestArchivesGoByAge(t *testing.T) {
	store := newFakeStore()
	s := newService(store, &pods{})
	clk := clocktesting.NewFakePassiveClock(time.Date(2026, 7, 1, 23, 0, 0, 0, time.UTC))
	s.Clock = clk
	const day = 24 * time.Hour
	sweepAfter := func(d time.Duration) string {
		t.Helper()
		clk.SetTime(clk.Now().Add(d))
		if err := s.sweepArchive(t.Context(), 3*day); err != nil {
			t.Fatal(err)
		}
		keys, _ := store.List(t.Context(), "")
		return strings.Join(keys, " ")
	}
	fill(t, s, run1)
	if got := sweepAfter(0); !strings.Contains(got, "archive/u/vpn-1~r1/seen/2026-07-01") {
		t.Errorf("after the first look: %s", got)
	}
	fill(t, s, RunID{UID: uid, Run: "vpn-2", RunUID: "r2"})
	want := "archive/u/vpn-1~r1/log/000000 archive/u/vpn-1~r1/plan archive/u/vpn-1~r1/seen/2026-07-01 " +
		"archive/u/vpn-2~r2/log/000000 archive/u/vpn-2~r2/plan archive/u/vpn-2~r2/seen/2026-07-04"
	if got := sweepAfter(3 * day); got != want {
		t.Errorf("after three days:\n%s, want\n%s", got, want)
	}
	if got := sweepAfter(day); strings.Contains(got, "vpn-1") || !strings.Contains(got, "vpn-2~r2/plan") {
		t.Errorf("after four days: %s", got)
	}
	if got := sweepAfter(3 * day); got != "" {
		t.Errorf("in the end: %s", got)
	}
}

// FuzzLog puts together whatever chunks there are: what the reader gives is what was put, in the order of the log,
// and it counts what is missing.
func FuzzLog(f *testing.F) {
	f.Add([]byte{0, 3, 1, 3, 4, 200})
	f.Add([]byte{9, 0, 0, 0, 255, 255})
	f.Fuzz(func(t *testing.T, script []byte) {
		s := newService(newFakeStore(), &pods{})
		var offset int64
		kept, missing := "", int64(0)
		for n := range min(len(script)/2, 50) {
			gap, size := int64(script[2*n]/8), int(script[2*n+1]/4)
			text := strings.Repeat(string(rune('a'+n%26)), size) + "\n"
			if err := s.PutChunk(context.Background(), run1, NewChunk{N: n, Packed: packed(t, offset+gap, text)}); err != nil {
				t.Fatal(err)
			}
			offset += gap + int64(len(text))
			kept, missing = kept+text, missing+gap
		}
		log := readLog(t, s, run1)
		note := regexp.MustCompile(`\.\.\. (\d+) bytes of the log were not kept \.\.\.\n`)
		for _, m := range note.FindAllStringSubmatch(log, -1) {
			n, _ := strconv.ParseInt(m[1], 10, 64)
			missing -= n
		}
		if got := note.ReplaceAllString(log, ""); got != kept || missing != 0 {
			t.Errorf("got %q, want %q; %d missing bytes are not told", got, kept, missing)
		}
	})
}

// FuzzJoin: chunks with any offsets are read without a panic, each byte of the log at most once.
func FuzzJoin(f *testing.F) {
	f.Add(binary.BigEndian.AppendUint64(nil, 1<<60-1), []byte("abc"))
	f.Fuzz(func(t *testing.T, offsets, text []byte) {
		r := &logReader{}
		for o := range slices.Chunk(offsets, 8) {
			offset := int64(binary.BigEndian.Uint64(append(o, make([]byte, 8)...)) & (1<<60 - 1))
			before := r.at
			got := r.join(job.Chunk{Offset: offset, Text: bytes.Clone(text)})
			if r.at < before || len(got) > len(text)+100 || (offset+int64(len(text)) <= before && len(got) > 0) {
				t.Fatalf("from %d to %d for a chunk at %d: %q", before, r.at, offset, got)
			}
		}
	})
}
