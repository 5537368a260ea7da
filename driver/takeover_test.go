package driver

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// importing plays what an engine says of an import, and then an apply of nothing.
func importing(refusal string) func(call) int {
	return func(c call) int {
		if c.command != "import" || refusal == "" {
			return c.applies("nochange")
		}
		fmt.Fprintln(os.Stderr, "\x1b[31mError: "+refusal+"\x1b[0m")
		return 1
	}
}

// importingLater fails the first time, as what is away for a moment does.
func importingLater(c call) int {
	if c.command == "import" && c.nth == 1 {
		return importing("operation cannot be completed, please retry again")(c)
	}
	return c.applies("nochange")
}

// dies is killed after it has made something, whose state it has not handed over.
func dies(c call) int {
	c.state("LOCK", `{"ID": "lock-1", "Who": "engine"}`)
	c.state("GET", "")
	c.say("begun")
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	return 0
}

// begun is what the stream of that name reports as made.
func begun() item {
	return item{
		address: address{Addr: "terraform_data.b[0]", Type: "terraform_data", Name: "b", Key: json.RawMessage("0")},
		IDKey:   "id", IDValue: "7d006c1b-883a-54a0-efc5-41007c3b20b0",
	}
}

// stateWith is a state that has just that at its address, and what else is to stand in it.
func stateWith(id, more string) string {
	return `{"version": 4, "serial": 3, "lineage": "x", "outputs": {}, "resources": [{
		"mode": "managed", "type": "terraform_data", "name": "b",
		"instances": [{"index_key": 0, "attributes": {"id": "` + id + `"}` + more + `}]}]}`
}

// argumentsOf are those that the engine was given with a command.
func (b *bench) argumentsOf(command string) string {
	b.t.Helper()
	calls, err := os.ReadFile(filepath.Join(b.cfg.Paths.Work, "calls."+command))
	if !os.IsNotExist(err) {
		b.must(err)
	}
	return string(calls)
}

// refusesMade has the state service answer what is told of things made with a status, the first times.
func (b *bench) refusesMade(status, times int) {
	b.state.answer = func(_, path string, _ int) int {
		if times == 0 || path != "/made" {
			return 0
		}
		times--
		return status
	}
}

// TestWhatAKilledEngineMadeIsNoted: with address and ID, also if the state service can't be told at first.
func TestWhatAKilledEngineMadeIsNoted(t *testing.T) {
	b := newBench(t)
	b.useFake("dies")
	b.refusesMade(http.StatusServiceUnavailable, 2)
	got := b.run(t.Context())
	if got.Class.Succeeded() || got.Class == job.StateUnsaved || b.calls("apply") != 1 {
		t.Errorf("%s: %s; applied %d times", got.Class, got.Message, b.calls("apply"))
	}
	if diff := cmp.Diff(map[string][]item{"vpn-1": {begun()}}, b.state.made, sameItems); diff != "" {
		t.Errorf("noted (-want +got):\n%s", diff)
	}
}

// TestWhatCantBeNoted holds the Workspace, and stands in the message.
func TestWhatCantBeNoted(t *testing.T) {
	b := newBench(t)
	b.useFake("dies")
	b.refusesMade(http.StatusForbidden, -1)
	got := b.run(t.Context())
	if got.Class != job.StateUnsaved || !strings.Contains(got.Message, begun().String()) {
		t.Errorf("%s: %s", got.Class, got.Message)
	}
}

// TestNothingIsNotedOfWhatIsStored: an apply whose engine ends by itself asks the state service no more than before.
func TestNothingIsNotedOfWhatIsStored(t *testing.T) {
	for _, scene := range []string{"apply", "flaky", "unsaved"} {
		t.Run(scene, func(t *testing.T) {
			b := newBench(t)
			b.useFake(scene)
			if got := b.run(t.Context()); !got.Class.Succeeded() {
				t.Errorf("%s: %s", got.Class, got.Message)
			}
			if slices.ContainsFunc(b.state.asked, func(a string) bool { return strings.Contains(a, "/made") }) {
				t.Errorf("asked %q", b.state.asked)
			}
		})
	}
}

var sameItems = cmp.Comparer(func(a, b item) bool { return a.String() == b.String() && a.key() == b.key() })

// TestWhatWasMadeIsTakenOver: before anything is planned, and only what the state lacks. What can't be taken over holds
// the Workspace, and stays noted.
func TestWhatWasMadeIsTakenOver(t *testing.T) {
	nameless := begun()
	nameless.IDKey, nameless.IDValue = "", ""
	replacement, namelessReplacement := begun(), nameless
	replacement.Replaces, namelessReplacement.Replaces = true, true
	tests := []struct {
		name, scene, state string
		made               item
		class              job.Class
		imports, moves     int
	}{
		{"in no state", "imports", "", begun(), job.NoChanges, 1, 0},
		{"in a state without it", "imports", stateOf(3), begun(), job.NoChanges, 1, 0},
		{"in the state already", "imports", stateWith(begun().IDValue, ""), begun(), job.NoChanges, 0, 0},
		{"what it was to replace is still in the state", "imports", stateWith("old", ""), begun(), job.NoChanges, 1, 1},
		{"that is deposed already", "imports", stateWith(begun().IDValue, `, "deposed": "0a"`), begun(), job.NoChanges, 1, 1},
		{"it is gone", "imports-gone", "", begun(), job.NoChanges, 1, 0},
		{"it can't be imported", "imports-never", "", begun(), job.StateUnsaved, 1, 0},
		{"it is managed already, and the state can't be read", "imports-owned", `{"encrypted_data": "AA"}`, begun(),
			job.NoChanges, 1, 0},
		{"or it may be what it was to replace", "imports-owned", `{"encrypted_data": "AA"}`, replacement,
			job.StateUnsaved, 1, 0},
		{"something else is managed there", "imports-owned", stateOf(3), begun(), job.StateUnsaved, 1, 0},
		{"its ID was not told", "imports", stateOf(3), nameless, job.StateUnsaved, 0, 0},
		{"its ID was not told, and it is there", "imports", stateWith("x", ""), nameless, job.NoChanges, 0, 0},
		{"or that is what it was to replace", "imports", stateWith("x", ""), namelessReplacement, job.StateUnsaved, 0, 0},
		{"the cloud is away for a moment", "imports-later", "", begun(), job.NoChanges, 2, 0},
	}
	for _, test := range tests {
		for _, operation := range []job.Operation{job.Apply, job.Destroy} {
			t.Run(test.name+" "+string(operation), func(t *testing.T) {
				b := newBench(t)
				b.useFake(test.scene)
				b.cfg.Params.Operation = operation
				b.must(os.WriteFile(filepath.Join(b.cfg.Paths.Work, remote), []byte(test.state), 0o600))
				// A Run that was killed as it took over has left it under both names.
				b.state.made = map[string][]item{"vpn-0": {test.made}, "vpn-1": {test.made}}
				got := b.run(t.Context())
				if got.Class != test.class || b.calls("import") != test.imports {
					t.Fatalf("%s: %s; imported %d times", got.Class, got.Message, b.calls("import"))
				}
				if moves := strings.Count(b.argumentsOf("state"), "mv "); moves != test.moves {
					t.Errorf("%d were moved: %s", moves, b.argumentsOf("state"))
				}
				if test.imports > 0 && !strings.HasSuffix(b.argumentsOf("import"), test.made.Addr+" "+test.made.IDValue+"\n") {
					t.Errorf("imported: %s", b.argumentsOf("import"))
				}
				if test.class != job.StateUnsaved {
					if len(b.state.made) > 0 {
						t.Errorf("%v is still noted", b.state.made)
					}
					return
				}
				b.isHeld(got, test.made)
			})
		}
	}
}

// isHeld checks that nothing was applied, that the message says what a person can do, and that the next Run knows.
func (b *bench) isHeld(got job.Result, made item) {
	b.t.Helper()
	if b.calls("apply") != 0 || !strings.Contains(got.Message, made.Addr) {
		b.t.Errorf("applied %d times: %s", b.calls("apply"), got.Message)
	}
	if made.IDKey != "" && !strings.Contains(got.Message, "terraform import 'terraform_data.b[0]' '"+made.IDValue+"'") {
		b.t.Errorf("no command: %s", got.Message)
	}
	if diff := cmp.Diff(map[string][]item{"vpn-1": {made}}, b.state.made, sameItems); diff != "" {
		b.t.Errorf("noted (-want +got):\n%s", diff)
	}
}

// TestAJournalIsSentInOrder: what is noted last is what is left, whatever was on its way; what a state covers is taken
// out.
func TestAJournalIsSentInOrder(t *testing.T) {
	var noted [][]item
	begins, goesOn := make(chan struct{}), make(chan struct{})
	j := &journal{newest: func() []byte { return []byte(stateWith(begun().IDValue, "")) }, patience: stateLimit}
	j.ctx, j.stop = context.WithCancel(t.Context())
	j.note = func(ctx context.Context, items []item) error {
		if len(noted) == 0 {
			close(begins)
			<-goesOn
		}
		noted = append(noted, items)
		return ctx.Err()
	}
	other := begun()
	other.Key = json.RawMessage("1")
	j.items = []item{begun(), other}
	go j.flush()
	<-begins
	settled := make(chan error)
	left := []item{other, {address: address{Addr: "last"}}}
	go func() { settled <- j.settle(t.Context(), left) }()
	close(goesOn)
	if err := <-settled; err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]item{{other}, left}, noted, sameItems); diff != "" {
		t.Errorf("noted (-want +got):\n%s", diff)
	}
	// Nothing is left at last: that is said once.
	for range 2 {
		if err := j.settle(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if len(noted) != 3 || len(noted[2]) != 0 {
		t.Errorf("noted %v", noted)
	}
}
