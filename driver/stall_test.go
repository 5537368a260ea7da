package driver

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// Lines of Terraform's stream.
var (
	saidVersion  = says("Terraform 1.11.4", "version", "")
	saidFinding  = says("Finding acme/cloud versions...", "init_output", "")
	saidRefresh  = says("a.b: Refreshing state...", "refresh_start", `"hook":{"resource":{"addr":"a.b"}}`)
	saidPlan     = says("a.b: Plan to create", "planned_change", `"change":{"resource":{"addr":"a.b"},"action":"create"}`)
	saidSummary  = says("Plan: 1 to add", "change_summary", `"changes":{"add":1,"operation":"plan"}`)
	saidCreating = says("a.b: Creating...", "apply_start", `"hook":{"resource":{"addr":"a.b"},"action":"create"}`)
	saidTick     = says("a.b: Still creating...", "apply_progress", `"hook":{"resource":{"addr":"a.b"},"action":"create"}`)
	saidDeleting = says("a.c: Destroying...", "apply_start", `"hook":{"resource":{"addr":"a.c"},"action":"delete"}`)
	saidDeleted  = says("a.c: Destroyed", "apply_complete", `"hook":{"resource":{"addr":"a.c"},"action":"delete"}`)
)

func says(text, kind, more string) string {
	if more != "" {
		more = "," + more
	}
	return fmt.Sprintf(`{"@message":%q,"type":%q%s}`, text, kind, more)
}

// hangVariable has the lines that an engine says before it hangs, and hangerVariable who it is that hangs.
const (
	hangVariable   = "FAKE_HANG"
	hangerVariable = "FAKE_HANGER"
)

// hangsAt says what it is told to and hangs then; what is said of a resource in work it repeats as ticks, on both of
// its streams. The state is saved as Terraform would.
func hangsAt(c call) int {
	if c.command != "init" {
		c.state("LOCK", `{"ID": "lock-1", "Who": "engine"}`)
		c.state("GET", "")
	}
	ends := make(chan struct{})
	switch os.Getenv(hangerVariable) {
	case "terraform":
		ch := interrupted()
		go func() { <-ch; close(ends) }()
	case "provider":
		_ = interrupted()
		provider := exec.Command(os.Args[0])
		provider.Args = []string{"/plugins/" + providerPrefix + "fake_v1.0.0"}
		if err := provider.Start(); err != nil {
			panic(err)
		}
		go func() { _ = provider.Wait(); close(ends) }()
	default:
		_ = interrupted()
	}
	fmt.Println(os.Getenv(hangVariable))
	ticker := time.NewTicker(50 * time.Millisecond)
	for {
		select {
		case <-ticker.C:
			fmt.Println(saidTick)
			fmt.Fprintln(os.Stderr, "[WARN] connection refused")
			continue
		case <-ends:
		}
		break
	}
	if c.command != "init" {
		c.state("POST", stateOf(7))
		c.state("UNLOCK", `{"ID": "lock-1"}`)
	}
	c.fail("", "execution halted")
	return 1
}

// TestStalls: wherever Terraform hangs, and whoever it is that hangs, the Run ends as Stalled, says where that was, and
// leaves the state saved and the lock free.
func TestStalls(t *testing.T) {
	lines := func(l ...string) string { return strings.Join(l, "\n") }
	tests := []struct {
		name, scene string
		operation   job.Operation
		said        string
		step        string
		place       string
		hangers     []string
	}{
		{"init asks a registry", "hangs-at-init", job.Apply, lines(saidVersion, saidFinding),
			"init", `the last it said was "Finding acme/cloud versions..."`,
			[]string{"terraform", "everything"}},
		{"init is dead from the start", "hangs-at-init", job.Apply, saidVersion, "init", "it has said nothing",
			[]string{"terraform"}},
		{"a provider is configured", "hangs-at", job.Apply, saidVersion, "plan", "no resource was come to, as when",
			[]string{"provider", "everything"}},
		{"a plan reads", "hangs-at", job.Plan, lines(saidVersion, saidRefresh), "plan", "a.b was being read",
			[]string{"provider"}},
		{"a refresh reads", "hangs-at", job.Refresh, lines(saidVersion, saidRefresh), "plan", "a.b was being read",
			[]string{"terraform"}},
		{"an apply configures", "hangs-at", job.Apply, lines(saidPlan, saidSummary, saidVersion),
			"apply", "no resource was come to", []string{"provider"}},
		{"an apply creates", "hangs-at", job.Apply, lines(saidPlan, saidSummary, saidCreating),
			"apply", "a.b was being created", []string{"terraform", "provider", "everything"}},
		{"a destroy destroys", "hangs-at", job.Destroy, lines(saidPlan, saidSummary, saidDeleting),
			"apply", "a.c was being destroyed", []string{"provider"}},
	}
	for _, test := range tests {
		for _, hanger := range test.hangers {
			t.Run(test.name+", by "+hanger, func(t *testing.T) {
				b := newBench(t)
				b.hang(test.scene, test.said, hanger)
				b.cfg.Params.Operation = test.operation
				got := b.run(t.Context())
				want := fmt.Sprintf("%s made no progress for %s: %s", test.step, b.cfg.Params.Timeouts.Stall, test.place)
				if got.Class != job.Stalled || !strings.HasPrefix(got.Message, want) {
					t.Errorf("%s: %s, want %s", got.Class, got.Message, want)
				}
				if last := got.Steps[len(got.Steps)-1]; last.Name != test.step || last.Class != job.Stalled {
					t.Errorf("the last step is %+v", last)
				}
				saved := hanger != "everything" && test.step != "init"
				if b.state.lock != "" || (got.StateSerial == 7) != saved {
					t.Errorf("the lock is %q, the state's serial %d", b.state.lock, got.StateSerial)
				}
				b.checkRungs(hanger)
				b.checkReports(got)
			})
		}
	}
}

// hang sets the scene of something that hangs.
func (b *bench) hang(scene, said, hanger string) {
	b.useFake(scene)
	b.env[hangVariable], b.env[hangerVariable] = said, hanger
	b.cfg.Params.PassEnv = append(b.cfg.Params.PassEnv, hangVariable, hangerVariable)
	t := &b.cfg.Params.Timeouts
	t.Stall, t.Grace = b.patience(), 50*time.Millisecond
	if hanger == "terraform" {
		t.Grace = time.Minute
	}
	b.cfg.KillDelay = time.Second // tfexec's own kill comes as long after it
	if hanger == "provider" {
		b.cfg.KillDelay = time.Minute
	}
}

// patience is a time in which a fake engine has long said what it says, on this machine as it is now.
func (b *bench) patience() time.Duration {
	began := time.Now()
	cmd := exec.CommandContext(b.t.Context(), b.env[engineVariable], "version")
	cmd.Env = []string{sceneVariable + "=apply"}
	b.must(cmd.Run())
	return max(500*time.Millisecond, 30*time.Since(began)).Round(time.Millisecond)
}

// checkRungs checks that the log tells of each rung that was climbed, and of no other.
func (b *bench) checkRungs(hanger string) {
	b.t.Helper()
	rungs := []string{
		"Terraform is interrupted and has ", "its providers are killed (", "it is killed with all that it started",
	}
	climbed := map[string]int{"terraform": 1, "provider": 2, "everything": 3}[hanger]
	for i, rung := range rungs {
		if strings.Contains(b.log.String(), rung) != (i < climbed) {
			b.t.Errorf("of %d rungs the log has, or lacks, %q", climbed, rung)
		}
	}
	if hanger == "provider" && !strings.Contains(b.log.String(), "(terraform-provider-fake_v1.0.0)") {
		b.t.Error("the log doesn't name the provider")
	}
}

// TestAStateServiceThatIsAwayIsNoStall: it isn't Terraform that hangs.
func TestAStateServiceThatIsAwayIsNoStall(t *testing.T) {
	b := newBench(t)
	b.useFake("apply")
	b.cfg.Params.Timeouts.Stall = b.patience()
	b.state.answer = func(method, _ string, nth int) int {
		if method == "LOCK" && nth == 1 {
			<-time.After(2 * b.cfg.Params.Timeouts.Stall)
			return http.StatusServiceUnavailable
		}
		return 0
	}
	if got := b.run(t.Context()); got.Class != job.Applied {
		t.Errorf("%s: %s", got.Class, got.Message)
	}
}

// TestHeartbeat: what counts as progress, on a clock of the test's own.
func TestHeartbeat(t *testing.T) {
	const most = 59 * time.Second
	hears := func(line string) func(*heartbeat) {
		return func(h *heartbeat) {
			m, _ := parse([]byte(line))
			h.hear(m)
		}
	}
	tests := []struct {
		name   string
		after  func(h *heartbeat)
		stalls bool
	}{
		{"nothing", func(*heartbeat) {}, true},
		{"a tick", hears(saidTick), true},
		{"a message", hears(saidCreating), false},
		{"a line that is none", func(h *heartbeat) { h.hearText("Upgrading modules...") }, false},
		{"the next step", func(h *heartbeat) { h.enter("apply") }, false},
		{"a request to the state service", func(h *heartbeat) { h.owes() }, false},
		{"an answer of the state service", func(h *heartbeat) { h.owes()() }, false},
		{"the end", (*heartbeat).stop, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, end := context.WithCancelCause(t.Context())
				h := &heartbeat{limit: time.Minute, end: end, inWork: map[string]string{}}
				h.enter("plan")
				time.Sleep(most)
				test.after(h)
				time.Sleep(most)
				synctest.Wait()
				if stalled := ctx.Err() != nil; stalled != test.stalls {
					t.Errorf("stalled: %v", stalled)
				}
				h.stop()
			})
		})
	}
}

func TestPlaceOfAStall(t *testing.T) {
	other := strings.NewReplacer("a.b", "a.a", "create", "update").Replace(saidCreating)
	tests := []struct {
		said []string
		want string
	}{
		{[]string{saidCreating, saidTick}, "a.b was being created"},
		{[]string{saidCreating, other}, "a.a was being updated, and 1 more"},
		{[]string{saidDeleting, saidCreating, saidDeleted}, "a.b was being created"},
		{[]string{saidDeleting, saidDeleted}, `no resource was in work; the last it said was "a.c: Destroyed"`},
		{[]string{saidVersion}, "no resource was come to, as when a provider hangs in its configuration"},
	}
	for _, test := range tests {
		h := &heartbeat{limit: time.Hour, inWork: map[string]string{}}
		h.enter("apply")
		for _, line := range test.said {
			m, _ := parse([]byte(line))
			h.hear(m)
		}
		h.stop()
		if got := h.place(); got != test.want {
			t.Errorf("%v: %s, want %s", test.said, got, test.want)
		}
	}
}
