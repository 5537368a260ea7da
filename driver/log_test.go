package driver

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/driver/job"
)

var update = flag.Bool("update", false, "write the golden logs anew")

// TestLog turns the recorded streams of a real Terraform into what people read.
func TestLog(t *testing.T) {
	streams, err := filepath.Glob("testdata/streams/*.jsonl")
	if err != nil || len(streams) == 0 {
		t.Fatalf("no streams: %v", err)
	}
	for _, file := range streams {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".jsonl"), func(t *testing.T) {
			got, _ := play(t, file)
			golden := strings.TrimSuffix(file, "jsonl") + "log"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("log (-want +got):\n%s", diff)
			}
		})
	}
}

// play sends a recorded stream through, a line at a time as tfexec does.
func play(t *testing.T, file string) (string, *stream) {
	t.Helper()
	recorded, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	log := &logWriter{out: &out}
	s := newStream(log)
	s.onApply = func() { log.heading("apply", 1) }
	for line := range bytes.Lines(recorded) {
		if _, err := s.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	return out.String(), s
}

func TestFacts(t *testing.T) {
	type facts struct {
		Anything, Applying bool
		Planned, Applied   *job.Changes
		Done               job.Changes
		Errors             []string
		Drift              []job.Drift
		Warnings           int
		Checks             job.Checks
	}
	high := job.Checks{Failed: 1, Messages: []string{`main.tf:9: check "level": the water is high`}}
	tests := map[string]facts{
		"init": {},
		"apply": {
			Anything: true, Applying: true,
			Planned: &job.Changes{Add: 3}, Applied: &job.Changes{Add: 3}, Done: job.Changes{Add: 3},
		},
		"nochange": {Planned: &job.Changes{}, Applied: &job.Changes{}},
		"plan":     {Anything: true, Planned: &job.Changes{Change: 1, Destroy: 1}},
		"change": {
			Anything: true, Applying: true,
			Planned: &job.Changes{Add: 1, Change: 1, Destroy: 2}, Applied: &job.Changes{Add: 1, Change: 1, Destroy: 2},
			Done: job.Changes{Add: 1, Change: 1, Destroy: 2},
		},
		// A check that reads plans to read, and nothing else.
		"check-reads": {Planned: &job.Changes{}, Warnings: 1},
		"check-fails": {Planned: &job.Changes{}, Warnings: 2, Checks: high},
		"check-unread": {Planned: &job.Changes{}, Warnings: 2, Checks: job.Checks{Failed: 1, Messages: []string{
			`main.tf:4: check "level": Unable to find remote state: ` +
				"No stored state was found for the given workspace in the given backend."}}},
		"outputs-alone": {Anything: true, Planned: &job.Changes{}},
		// Plans that fail halfway have a summary, and are not applied.
		"plan-halfway": {Anything: true, Planned: &job.Changes{Add: 1, Change: 1},
			Errors: []string{"main.tf:6: Resource precondition failed: quota exceeded"}},
		"prevent-destroy": {Anything: true, Planned: &job.Changes{Destroy: 2},
			Errors: []string{"main.tf:1: Instance cannot be destroyed: Resource terraform_data.a has " +
				"lifecycle.prevent_destroy set, but the plan calls for this resource to be destroyed. To avoid " +
				"this error and continue with the plan, either disable lifecycle.prevent_destroy or reduce the scope of " +
				"the plan using the -target option."}},
		"tofu-prevent-destroy": {Anything: true, Planned: &job.Changes{Destroy: 2},
			Errors: []string{"main.tf:4: Resource instance cannot be destroyed: Resource instance terraform_data.b has " +
				"prevent_destroy set, but the plan calls for it to be destroyed. To proceed, either disable prevent_destroy for " +
				"this resource or exclude instances of this resource from this round using: -exclude=\"terraform_data.b\""}},
		"forget": {
			Anything: true, Applying: true, Planned: &job.Changes{Forget: 1}, Applied: &job.Changes{Forget: 1}, Warnings: 1,
		},
		"tofu-forget": {
			Anything: true, Applying: true, Planned: &job.Changes{Forget: 1}, Applied: &job.Changes{Forget: 1}, Warnings: 3,
			Checks: job.Checks{Failed: 1, Messages: []string{`main.tf:15: check "shut": the sluice is shut`}},
		},
		"refresh": {
			Planned: &job.Changes{}, Applied: &job.Changes{},
			Drift: []job.Drift{{Address: "terraform_data.b[0]", Actions: []string{"update"}}},
		},
		"failed": {
			Anything: true, Applying: true, Planned: &job.Changes{Add: 2}, Done: job.Changes{Add: 1},
			Errors: []string{"main.tf:2: local-exec provisioner error: Error running command 'exit 3': exit status 3. Output:"},
		},
		"drift": {
			Anything: true, Planned: &job.Changes{Change: 1, Destroy: 1},
			Drift: []job.Drift{
				{Address: "terraform_data.b[0]", Actions: []string{"update"}},
				{Address: "terraform_data.b[1]", Actions: []string{"delete"}},
			},
		},
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			_, s := play(t, "testdata/streams/"+name+".jsonl")
			got := facts{s.anything, s.applying, s.planned, s.applied, s.done, nil, s.drift,
				s.warned.warnings.Total, s.warned.checks}
			if s.errors.total > 0 {
				got.Errors = []string{s.errors.message()}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("facts (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOutputsAloneAreAChange(t *testing.T) {
	s := newStream(&logWriter{out: &bytes.Buffer{}})
	for _, line := range []string{
		`{"type":"change_summary","changes":{"operation":"plan"}}`,
		`{"type":"outputs","outputs":{"a":{"action":"update"}}}`,
	} {
		_, _ = s.Write([]byte(line))
	}
	if !s.anything {
		t.Error("a changed output is no change")
	}
}

// TestEveryErrorIsHeard: a thousand errors are counted, one is kept, and it is the one that decides, wherever it
// stands.
func TestEveryErrorIsHeard(t *testing.T) {
	s := newStream(&logWriter{out: &bytes.Buffer{}})
	for range 1000 {
		_, _ = s.Write([]byte(`{"type":"diagnostic","diagnostic":{"severity":"error","summary":"503 Service Unavailable"}}`))
	}
	_, _ = s.Write([]byte(`{"type":"diagnostic","diagnostic":{"severity":"error","summary":"no luck","address":"a.b"}}`))
	if got, want := s.errors.message(), "no luck (+1000 more)"; got != want || s.errors.class != "" {
		t.Errorf("got %q of class %q, want %q", got, s.errors.class, want)
	}
}

// TestWarningsAreBounded: each is counted once, however often it is said, and the first few are kept and cut.
func TestWarningsAreBounded(t *testing.T) {
	s := newStream(&logWriter{out: &bytes.Buffer{}})
	for range 2 {
		for i := range 1000 {
			line := fmt.Sprintf(`{"type":"diagnostic","diagnostic":{"severity":"warning","summary":"%d%s"}}`, i,
				strings.Repeat("é", 1000))
			_, _ = s.Write([]byte(line))
		}
	}
	got := s.warned.result()
	if got.Total != 1000 || len(got.First) != job.MaxWarnings || len(got.First[0]) > maxWarning+4 ||
		!utf8.ValidString(got.First[0]) {
		t.Errorf("%d warnings, the first are %q", got.Total, got.First)
	}
}

func TestCutLine(t *testing.T) {
	if got := cutLine(strings.Repeat("x", maxLine)); len(got) != maxLine {
		t.Errorf("a line of the limit is cut to %d", len(got))
	}
	got := cutLine(strings.Repeat("x", maxLine-1) + "ä and more")
	if want := strings.Repeat("x", maxLine-1) + " ... (11 bytes more)"; got != want {
		t.Errorf("got ...%s", got[maxLine-10:])
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	tail := &tail{out: &logWriter{out: &bytes.Buffer{}}}
	for range 100 {
		_, _ = tail.Write(bytes.Repeat([]byte("x"), 1000))
	}
	_, _ = tail.Write([]byte("the end"))
	if got := tail.String(); len(got) != maxTail || !strings.HasSuffix(got, "the end") {
		t.Errorf("%d bytes are kept", len(got))
	}
}

func TestErrorsIn(t *testing.T) {
	got := errorsIn("Noise\n╷\n│ Error: One\n│ \n│   with a.b,\n│   on main.tf line 3, in resource \"a\" \"b\":\n" +
		"│    3: x = 1\n│ \n│ It is so,\n│ on line 4 too.\n╵\n╷\n│ Error: Two\n╵\n")
	at := &place{Filename: "main.tf"}
	at.Start.Line = 3
	one := diagnostic{Summary: "One", Address: "a.b", Range: at, Detail: "It is so,\non line 4 too."}
	want := []diagnostic{one, {Summary: "Two"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}
