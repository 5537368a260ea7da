package classify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// TestGolden classifies every text below testdata; the folder names the class, and Otherwise the step's own.
func TestGolden(t *testing.T) {
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
			got := Failure(errors.New("exit status 1"), []string{strings.TrimSpace(string(text))}, "Otherwise")
			if got != want {
				t.Errorf("got %s, want %s for:\n%s", got, want, text)
			}
		})
	}
}

func TestFailure(t *testing.T) {
	const lost, exists = "connect: connection refused", `configmaps "a" already exists`
	const syntax, locked, odd = "Unsupported argument: foo", "HTTP remote state already locked: ID=1", "no luck"
	exit := errors.New("exit status 1")
	tests := []struct {
		name string
		err  error
		said []string
		want job.Class
	}{
		{"deadline before anything said", fmt.Errorf("plan: %w", context.DeadlineExceeded), []string{syntax}, job.TimedOut},
		{"cancel before anything said", fmt.Errorf("plan: %w", context.Canceled), []string{lost}, job.Canceled},
		{"nothing said", exit, nil, job.PlanFailed},
		{"unknown", exit, []string{odd}, job.PlanFailed},
		{"all heal by themselves", exit, []string{lost, locked}, job.StateLocked},
		{"one that nothing is known of", exit, []string{lost, odd}, job.PlanFailed},
		{"one that exists", exit, []string{lost, odd, exists}, job.AlreadyExists},
		{"one that needs a person", exit, []string{exists, syntax, lost}, job.ConfigInvalid},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := Failure(test.err, test.said, job.PlanFailed); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestEveryClassOfTheTableIsRanked(t *testing.T) {
	for _, r := range table {
		if !slices.Contains(rank, r.class) {
			t.Errorf("class %q has no rank", r.class)
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
