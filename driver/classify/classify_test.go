package classify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// golden is one line of testdata/<provider>.jsonl: a diagnostic as the -json stream has it, and the class that a step
// that fails with it alone has. Otherwise is the step's own.
type golden struct {
	Name       string `json:"name"`
	Want       string `json:"want"`
	Diagnostic struct {
		Summary string          `json:"summary"`
		Detail  string          `json:"detail"`
		Address string          `json:"address"`
		Range   json.RawMessage `json:"range"`
	} `json:"diagnostic"`
}

// class is that of the diagnostic.
func (g golden) class() job.Class {
	d := g.Diagnostic
	return orOtherwise(Diagnostic{d.Summary, d.Detail, d.Address, d.Range != nil}.Class())
}

func orOtherwise(c job.Class) job.Class {
	if c == "" {
		return "Otherwise"
	}
	return c
}

// TestDiagnostics classifies every diagnostic of testdata and prints how many are right, by provider.
func TestDiagnostics(t *testing.T) {
	files, err := filepath.Glob("testdata/*.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, file := range files {
		cases, right := readGolden(t, file), 0
		for _, g := range cases {
			if got := g.class(); string(got) != g.Want {
				t.Errorf("%s %s: got %s, want %s for:\n%s: %s", filepath.Base(file), g.Name, got, g.Want,
					g.Diagnostic.Summary, g.Diagnostic.Detail)
				continue
			}
			right++
		}
		t.Logf("%-16s %3d of %3d", strings.TrimSuffix(filepath.Base(file), ".jsonl"), right, len(cases))
		total += len(cases)
	}
	if total < 150 {
		t.Errorf("%d diagnostics, which is no library", total)
	}
}

func readGolden(t *testing.T, file string) []golden {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var cases []golden
	for line := range bytes.Lines(content) {
		var g golden
		if err := json.Unmarshal(line, &g); err != nil || g.Want == "" || g.Diagnostic.Summary == "" {
			t.Fatalf("%s: %v in %s", file, err, line)
		}
		cases = append(cases, g)
	}
	return cases
}

// TestTexts classifies the texts of an engine that told no structure; the folder names the class.
func TestTexts(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(strings.TrimPrefix(file, "testdata/"), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want := job.Class(filepath.Base(filepath.Dir(file)))
			if got := orOtherwise(Diagnostic{Summary: strings.TrimSpace(string(text))}.Class()); got != want {
				t.Errorf("got %s, want %s for:\n%s", got, want, text)
			}
		})
	}
}

// TestStructureComesFirst: the same words are of another class where somebody else says them.
func TestStructureComesFirst(t *testing.T) {
	const denied, waits = "Access denied: the token has expired", "waiting for the thing: context deadline exceeded"
	tests := []struct {
		name       string
		diagnostic Diagnostic
		want       job.Class
	}{
		{"a provider", Diagnostic{Summary: denied, Address: "aws_vpc.a", Placed: true}, job.CredentialsExpired},
		{"core, about the configuration", Diagnostic{Summary: denied, Placed: true}, job.ConfigInvalid},
		{"core, in an author's words", Diagnostic{Summary: "Resource precondition failed", Detail: denied},
			job.ConfigInvalid},
		{"core, of a backend", Diagnostic{Summary: "Error refreshing state", Detail: denied}, job.CredentialsExpired},
		{"core, of the state service", Diagnostic{Summary: "Error refreshing state", Detail: "HTTP error: 403"},
			job.StateUnavailable},
		{"a provider that waits", Diagnostic{Summary: waits, Address: "a.b", Placed: true}, job.TimedOut},
		{"a request of core's", Diagnostic{Summary: "Failed to install provider", Detail: waits}, job.Transient},
		{"core's summary in a provider's mouth", Diagnostic{Summary: "Invalid index: 403 Forbidden", Address: "a.b"},
			job.CredentialsDenied},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := test.diagnostic.Class(); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestEnded(t *testing.T) {
	tests := []struct {
		err  error
		want job.Class
	}{
		{fmt.Errorf("plan: %w", context.DeadlineExceeded), job.TimedOut},
		{fmt.Errorf("plan: %w", context.Canceled), job.Canceled},
		{errors.New("exit status 1"), ""},
	}
	for _, test := range tests {
		if got, ended := Ended(test.err); got != test.want || ended != (test.want != "") {
			t.Errorf("%v: got %q, %v", test.err, got, ended)
		}
	}
}

func TestOutranks(t *testing.T) {
	const unknown job.Class = ""
	tests := []struct {
		name string
		a, b job.Class
		want bool
	}{
		{"of what heals by itself, the lock", job.StateLocked, job.Transient, true},
		{"one that nothing is known of", unknown, job.Transient, true},
		{"one that exists", job.AlreadyExists, unknown, true},
		{"one that needs a person", job.ConfigInvalid, job.AlreadyExists, true},
		{"the first of its kind stays", job.Transient, job.Transient, false},
		{"and not the other way round", job.Transient, job.ConfigInvalid, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := Outranks(test.a, test.b); got != test.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestEveryClassOfTheTablesIsRanked(t *testing.T) {
	tables := [][]row{providers, backends, downloads}
	classes := []job.Class{job.ConfigInvalid}
	for _, table := range tables {
		for _, r := range table {
			classes = append(classes, r.class)
		}
	}
	for _, s := range core {
		classes = append(classes, s.class)
	}
	for _, c := range classes {
		if !slices.Contains(rank, c) {
			t.Errorf("class %q has no rank", c)
		}
	}
}

func TestRetryable(t *testing.T) {
	want := []job.Class{job.StateLocked, job.StateUnavailable, job.Transient}
	var got []job.Class
	for _, c := range job.Classes() {
		if Retryable(c) {
			got = append(got, c)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
