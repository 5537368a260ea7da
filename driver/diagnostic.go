package driver

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/plumbline-dev/plumbline/driver/classify"
	"github.com/plumbline-dev/plumbline/driver/job"
)

// diagnostic is an error or a warning as the engine tells it.
type diagnostic struct {
	Severity string   `json:"severity"`
	Summary  string   `json:"summary"`
	Detail   string   `json:"detail"`
	Address  string   `json:"address"`
	Range    *place   `json:"range"`
	Snippet  *snippet `json:"snippet"`
}

type place struct {
	Filename string `json:"filename"`
	Start    struct {
		Line int `json:"line"`
	} `json:"start"`
}

type snippet struct {
	Context   *string `json:"context"`
	Code      string  `json:"code"`
	StartLine int     `json:"start_line"`
	Values    []struct {
		Traversal string `json:"traversal"`
		Statement string `json:"statement"`
	} `json:"values"`
}

// line is the diagnostic in one line, with file and line if they are known.
func (d diagnostic) line() string { return d.where() + strings.Join(strings.Fields(d.text()), " ") }

func (d diagnostic) where() string {
	if d.Range == nil {
		return ""
	}
	return fmt.Sprintf("%s:%d: ", filepath.Clean(d.Range.Filename), d.Range.Start.Line)
}

func (d diagnostic) text() string {
	if d.Detail == "" {
		return d.Summary
	}
	return d.Summary + ": " + d.Detail
}

// context is the block that it stands in, such as `check "level"`, or empty.
func (d diagnostic) context() string {
	if d.Snippet == nil || d.Snippet.Context == nil {
		return ""
	}
	return *d.Snippet.Context
}

func (d diagnostic) class() job.Class {
	return classify.Diagnostic{Summary: d.Summary, Detail: d.Detail, Address: d.Address, Placed: d.Range != nil}.Class()
}

// verdict is what is known of the errors of an attempt: how many there are, and the one that decides the class of all.
// It looks at each of them, and keeps one.
type verdict struct {
	total    int
	decisive diagnostic
	class    job.Class
}

func (v *verdict) hear(d diagnostic) {
	class := d.class()
	if v.total == 0 || classify.Outranks(class, v.class) {
		d.Snippet = nil
		v.decisive, v.class = d, class
	}
	v.total++
}

// judge hears several errors.
func judge(errs []diagnostic) (v verdict) {
	for _, d := range errs {
		v.hear(d)
	}
	return v
}

// message is the error that decides, and how many more there are.
func (v *verdict) message() string {
	if v.total > 1 {
		return fmt.Sprintf("%s (+%d more)", v.decisive.line(), v.total-1)
	}
	return v.decisive.line()
}

// withAddress and onLine are how text for people tells what -json has fields for; sourceLine is the source that
// follows.
var (
	withAddress = regexp.MustCompile(`^with (\S.*),$`)
	onLine      = regexp.MustCompile(`^on (\S+) line (\d+)(, in .*)?:$`)
	sourceLine  = regexp.MustCompile(`^\d+: `)
)

// errorsIn finds the errors in text for people: what an engine says that has no -json for the command, or before it
// comes to reading the flag.
func errorsIn(text string) []diagnostic {
	var found []diagnostic
	for line := range strings.Lines(text) {
		line = strings.Trim(line, "│╷╵ \t\n")
		if summary, ok := strings.CutPrefix(line, "Error: "); ok {
			found = append(found, diagnostic{Summary: summary})
		} else if n := len(found); n > 0 && line != "" {
			found[n-1].take(line)
		}
	}
	return found
}

// take adds a line of text for people.
func (d *diagnostic) take(line string) {
	if d.Detail == "" {
		if m := withAddress.FindStringSubmatch(line); m != nil {
			d.Address = m[1]
			return
		}
		if m := onLine.FindStringSubmatch(line); m != nil {
			d.Range = &place{Filename: m[1]}
			d.Range.Start.Line, _ = strconv.Atoi(m[2]) // digits
			return
		}
		if d.Range != nil && sourceLine.MatchString(line) {
			return
		}
	}
	d.Detail = strings.TrimSpace(d.Detail + "\n" + line)
}
