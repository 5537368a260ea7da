// Package docs keeps what is written here true, as far as a machine can.
package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumbline-dev/plumbline/driver/job"
)

var row = regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (\\w+) \\|")

func TestClassesHaveThePoliciesThatAreWrittenDown(t *testing.T) {
	text := read(t, "workspaces.md")
	_, text, begins := strings.Cut(text, "<!-- classes:")
	text, _, ends := strings.Cut(text, "<!-- /classes -->")
	if !begins || !ends {
		t.Fatal("the table's marks are gone")
	}
	got, want := map[job.Class]job.Policy{}, map[job.Class]job.Policy{}
	for _, cells := range row.FindAllStringSubmatch(text, -1) {
		got[job.Class(cells[1])] = job.Policy(cells[2])
	}
	for _, class := range job.Classes() {
		want[class] = class.Policy()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("workspaces.md differs from driver/job (-code +docs):\n%s", diff)
	}
}

var link = regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)

func TestLinksLeadSomewhere(t *testing.T) {
	pages, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	decisions, err := filepath.Glob("adr/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(append(pages, decisions...), "../README.md") {
		for _, found := range link.FindAllStringSubmatch(read(t, page), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), found[1])); err != nil {
				t.Errorf("%s links to %s: %v", page, found[1], err)
			}
		}
	}
}

// targets are named by `make NAME` in pages and README.
var target = regexp.MustCompile("`make ([a-z0-9]+)")

func TestMakeTargetsExist(t *testing.T) {
	makefile := read(t, "../Makefile")
	for _, page := range []string{"../README.md", "development.md", "operations.md"} {
		for _, found := range target.FindAllStringSubmatch(read(t, page), -1) {
			if !strings.Contains(makefile, "\n"+found[1]+":") {
				t.Errorf("%s speaks of make %s, which there is not", page, found[1])
			}
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
