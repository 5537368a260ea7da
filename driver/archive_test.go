package driver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// TestLogIsArchived: the log that people read is the log that is kept, in one request after the report for a short Run.
func TestLogIsArchived(t *testing.T) {
	b := newBench(t)
	b.useFake("apply")
	b.cfg.Clock = clocktesting.NewFakePassiveClock(time.Unix(0, 0)) // however slow the machine is, the Run is short
	b.run(t.Context())
	if diff := cmp.Diff(b.log.String(), b.state.archivedLog()); diff != "" {
		t.Errorf("archived log (-want +got):\n%s", diff)
	}
	report := slices.Index(b.state.asked, "PUT /runs/vpn-1/result")
	if last := b.state.asked[report:]; len(last) != 2 || last[1] != "PUT /runs/vpn-1/log/0" {
		t.Errorf("from the report on it asked for %v", last)
	}
}

// TestArchiveInTrouble: whatever the state service says to the archive, the Run is what it is and its report arrives.
func TestArchiveInTrouble(t *testing.T) {
	for name, test := range map[string]struct {
		answer func(nth int) int
		kept   bool
	}{
		"refused":       {func(int) int { return http.StatusForbidden }, false},
		"no such route": {func(int) int { return http.StatusBadRequest }, false},
		"away for a while": {func(nth int) int {
			if nth < 4 {
				return http.StatusServiceUnavailable
			}
			return 0
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.useFake("apply")
			b.state.answer = func(_, path string, nth int) int {
				if strings.Contains(path, "/log/") {
					return test.answer(nth)
				}
				return 0
			}
			got := b.run(t.Context())
			if got.Class != job.Applied {
				t.Errorf("result: %+v", got)
			}
			b.checkReports(got)
			if kept := b.state.archivedLog() == b.log.String(); kept != test.kept {
				t.Errorf("the log is kept: %v, want %v", kept, test.kept)
			}
		})
	}
}

func TestPlanIsArchived(t *testing.T) {
	b := newBench(t)
	b.useFake("plan")
	b.cfg.Params.Operation = job.Plan
	b.run(t.Context())
	want := map[string][]byte{
		job.PartPlan: []byte(savedPlan), job.PartPlanJSON: []byte(shownJSON), job.PartPlanText: []byte(shownText),
	}
	if diff := cmp.Diff(want, b.state.parts); diff != "" {
		t.Errorf("archived (-want +got):\n%s", diff)
	}
	if strings.Contains(b.log.String(), "to the library") {
		t.Error("the plan's JSON is in the log")
	}
	report := slices.Index(b.state.asked, "PUT /runs/vpn-1/result")
	if plan := slices.Index(b.state.asked, "PUT /runs/vpn-1/plan"); plan < report {
		t.Errorf("the plan is archived before the report: %v", b.state.asked)
	}
}

// checkArchiveOf checks what is kept of a log of so many bytes: head and tail within the bounds, and that it tells how
// much is missing.
func (b *bench) checkArchiveOf(total int) {
	b.t.Helper()
	log := b.state.archivedLog()
	kept, missing, gaps := len(log), 0, regexp.MustCompile(`<(\d+) missing>`).FindAllStringSubmatch(log, -1)
	for _, gap := range gaps {
		n, _ := strconv.Atoi(gap[1])
		kept, missing = kept-len(gap[0]), missing+n
	}
	if kept+missing != total || kept < headSize || kept > headSize+tailSize+2*job.MaxChunk {
		b.t.Errorf("%d bytes: %d are kept, %d missing", total, kept, missing)
	}
	if !strings.HasPrefix(log, "== prepare") || !strings.Contains(log[len(log)-500:], "Apply complete!") {
		b.t.Errorf("the log begins with %q and ends with %q", log[:50], log[len(log)-500:])
	}
	if first := strings.Index(log, gaps[0][0]); first < headSize {
		b.t.Errorf("the head ends after %d bytes", first)
	}
	b.t.Logf("%d bytes: %d are kept in %d chunks, %d missing in %d gaps; %d requests",
		total, kept, len(b.state.chunks), missing, len(gaps), len(b.state.asked))
}

// TestBlockedArchive: a state service that takes nothing costs neither time nor more than bounded memory.
func TestBlockedArchive(t *testing.T) {
	s := newShipper(clock.RealClock{})
	s.start(t.Context(), func(ctx context.Context, _ newChunk) error { <-ctx.Done(); return ctx.Err() })
	line := []byte(strings.Repeat("x", 1023) + "\n")
	for range 100 << 10 {
		_, _ = s.Write(line)
	}
	s.mu.Lock()
	waiting := 0
	for _, b := range s.waiting {
		waiting += cap(b.text)
	}
	s.mu.Unlock()
	if limit := 5 * (headSize + tailSize) / 4; waiting > limit+2*job.MaxChunk {
		t.Errorf("%d bytes wait", waiting)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("closing: %v", err)
	}
	<-s.done
}

// TestShipperGivesUp: when it is refused, nothing waits any more.
func TestShipperGivesUp(t *testing.T) {
	s := newShipper(clock.RealClock{})
	refused := errors.New("HTTP 403: no")
	s.start(t.Context(), func(context.Context, newChunk) error { return refused })
	_, _ = s.Write([]byte("a\n"))
	s.hurry()
	<-s.done
	_, _ = s.Write([]byte("b\n"))
	if err := s.close(t.Context()); !errors.Is(err, refused) || len(s.waiting) != 0 {
		t.Errorf("got %v, and %d blocks wait", err, len(s.waiting))
	}
}

// TestShipperKeepsHeadAndTail with logs of many shapes and a state service of changing speed.
func TestShipperKeepsHeadAndTail(t *testing.T) {
	for seed := range uint64(6) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		b := &bench{t: t, state: &fakeState{chunks: map[int][]byte{}}}
		s := newShipper(clock.RealClock{})
		s.start(t.Context(), func(_ context.Context, c newChunk) error {
			b.state.mu.Lock()
			defer b.state.mu.Unlock()
			drop := fmt.Sprintf("%d-%d", c.from, c.to)
			if status := b.state.actArchive(fmt.Sprintf("log/%d", c.n), drop, c.packed); status != http.StatusOK {
				return fmt.Errorf("HTTP %d", status)
			}
			return nil
		})
		total := 0
		write := func(text string) {
			n, _ := s.Write([]byte(text))
			total += n
		}
		write("== prepare\n" + strings.Repeat("-", 50) + "\n")
		for total < 24<<20+rnd.IntN(8<<20) {
			write(strings.Repeat("x", rnd.IntN(600<<10)) + "\n")
			if rnd.IntN(40) == 0 {
				s.hurry()
			}
		}
		write(strings.Repeat("=", 500) + "\nApply complete!\n")
		if err := s.close(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.checkArchiveOf(total)
	}
}

// driverVariable makes the test binary the driver; it holds a driverConfig.
const driverVariable = "BE_DRIVER"

type driverConfig struct {
	Params job.Params
	Paths  Paths
	Env    map[string]string
}

func beDriver(config string) {
	var c driverConfig
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		panic(err)
	}
	KeepOnWithoutOutput()
	Run(context.Background(), Config{
		Params: c.Params, Paths: c.Paths, Stdout: os.Stdout, Clock: clock.RealClock{}, RetryDelay: time.Second,
		LookupEnv: func(name string) (string, bool) { v, ok := c.Env[name]; return v, ok },
	})
	os.Exit(0)
}

// TestKilledDriver: what a driver said before it is killed without a warning is archived already, but for the last
// moments.
func TestKilledDriver(t *testing.T) {
	b := newBench(t)
	b.useFake("hangs")
	b.writeSpec()
	config, err := json.Marshal(driverConfig{b.cfg.Params, b.cfg.Paths, b.env})
	b.must(err)
	self, err := os.Executable()
	b.must(err)
	archived := make(chan struct{}, 100)
	b.state.answer = func(_, path string, _ int) int {
		if strings.Contains(path, "/log/") {
			archived <- struct{}{}
		}
		return 0
	}
	driver := exec.CommandContext(t.Context(), self)
	driver.Env = append(os.Environ(), driverVariable+"="+string(config))
	driver.Stdout = b.log
	b.must(driver.Start())
	const said = "terraform_data.a: Creating..."
	for !strings.Contains(b.state.archivedLog(), said) {
		<-archived
	}
	b.must(driver.Process.Kill())
	_ = driver.Wait()
	if _, err := os.Stat(filepath.Join(b.cfg.Paths.Work, "..", "termination-log")); err == nil {
		t.Error("the driver had time to end by itself")
	}
	if !strings.HasPrefix(b.log.String(), b.state.archivedLog()) {
		t.Errorf("archived: %s", b.state.archivedLog())
	}
}
