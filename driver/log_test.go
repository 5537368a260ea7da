package driver

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
	}
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
			got := facts{s.anything, s.applying, s.planned, s.applied, s.done, nil, s.drift}
			for _, d := range s.errors {
				got.Errors = append(got.Errors, d.line())
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

func TestErrorsAreBounded(t *testing.T) {
	s := newStream(&logWriter{out: &bytes.Buffer{}})
	for range 1000 {
		_, _ = s.Write([]byte(`{"type":"diagnostic","diagnostic":{"severity":"error","summary":"no"}}`))
	}
	if len(s.errors) != maxErrors || s.errorTotal != 1000 {
		t.Errorf("%d errors of %d", len(s.errors), s.errorTotal)
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
	got := errorsIn("Noise\n╷\n│ Error: One\n│ \n│   on main.tf\n╵\n╷\n│ Error: Two\n╵\n")
	want := []diagnostic{{Summary: "One", Detail: "on main.tf"}, {Summary: "Two"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}
