// Package docs keeps what is written here true, as far as a machine can.
package docs

import (
	"io/fs"
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

var (
	testName = regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z]\w+`)
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)[A-Z]\w+)\(`)
)

// TestPromisesNameTestsThatExist: a test that is renamed takes its row in the table along.
func TestPromisesNameTestsThatExist(t *testing.T) {
	exist := map[string]bool{}
	for _, file := range testFiles(t) {
		for _, found := range testFunc.FindAllStringSubmatch(read(t, file), -1) {
			exist[found[1]] = true
		}
	}
	for _, name := range testName.FindAllString(read(t, "promises.md"), -1) {
		if !exist[name] {
			t.Errorf("promises.md names %s, which there is not", name)
		}
	}
}

func testFiles(t *testing.T) (files []string) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != ".." && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir // what is built and what runs comes and goes
		case strings.HasSuffix(path, "_test.go"):
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
