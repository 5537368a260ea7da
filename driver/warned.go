package driver

import (
	"hash/maphash"
	"strings"
	"unicode/utf8"

	"github.com/plumbline-dev/plumbline/driver/job"
)

const (
	// maxWarning is the length in bytes that a warning is cut to.
	maxWarning = 300
	// maxDistinct bounds how many warnings are told apart; more are counted each time that they are said.
	maxDistinct = 10_000
)

var seed = maphash.MakeSeed()

// warned is what the engine warned of in the Run. The same warning in a plan, in the apply of it and in another attempt
// is one; which checks fail is another question each time.
type warned struct {
	warnings job.Warnings
	checks   job.Checks
	distinct map[uint64]bool
}

// again begins with another attempt, or with the apply of what was planned.
func (w *warned) again() { w.checks = job.Checks{} }

// hear takes in a diagnostic. It is masked before it is cut: half a secret would not be known for one.
func (w *warned) hear(d diagnostic, mask func(string) string) {
	if d.Severity != "warning" || d.Summary == lockFileNews {
		return
	}
	d.Detail, _, _ = strings.Cut(d.Detail, "\n\n") // advice follows
	line := mask(d.line())
	if d.failsACheck() {
		line = mask(d.where() + d.reproach())
		w.checks.Failed++
		w.checks.Messages = keep(w.checks.Messages, line)
	}
	hash := maphash.String(seed, line)
	if w.distinct[hash] {
		return
	}
	if w.distinct == nil {
		w.distinct = map[uint64]bool{}
	}
	if len(w.distinct) < maxDistinct {
		w.distinct[hash] = true
	}
	w.warnings.Total++
	w.warnings.First = keep(w.warnings.First, line)
}

// keep keeps the first few lines, cut to what may be read at a glance.
func keep(lines []string, line string) []string {
	if len(lines) == job.MaxWarnings {
		return lines
	}
	if len(line) > maxWarning {
		end := maxWarning
		for end > 0 && !utf8.RuneStart(line[end]) {
			end--
		}
		line = line[:end] + " ..."
	}
	return append(lines, line)
}

const (
	assertionFailed = "Check block assertion failed"
	checkContext    = `check "`
)

// failsACheck tells whether it is about an assertion that doesn't hold, or about something that a check could not read,
// which core lets stand as a warning.
func (d diagnostic) failsACheck() bool {
	if d.Summary == assertionFailed {
		return true
	}
	unread := strings.Contains(d.Address, "data.") && !strings.Contains(strings.ToLower(d.Summary), "deprecated")
	return unread && strings.HasPrefix(d.context(), checkContext)
}

// reproach is what a failing check says, with its name.
func (d diagnostic) reproach() string {
	said := d.text()
	if d.Summary == assertionFailed && d.Detail != "" {
		said = d.Detail
	}
	said = strings.Join(strings.Fields(said), " ")
	if d.context() == "" {
		return said
	}
	return d.context() + ": " + said
}

// warnings are nil for none.
func (w *warned) result() *job.Warnings {
	if w.warnings.Total == 0 {
		return nil
	}
	return &w.warnings
}
