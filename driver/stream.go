package driver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// Bounds on what is kept of a stream that may be of any size; the log gets all of it.
const (
	maxErrors  = 20
	maxMessage = 4 << 20 // a longer line is shown cut and not looked into
)

// stream is Terraform's -json output as it comes: every line goes to the log in readable form, and the few facts that
// the Result needs are kept. tfexec writes whole lines.
type stream struct {
	log *logWriter
	// onApply is called when the plan is made and has changes.
	onApply func()
	// heartbeat, if set, is told of all that comes.
	heartbeat *heartbeat

	errors     []diagnostic
	errorTotal int
	planned    *job.Changes
	applied    *job.Changes
	// done counts the finished changes one by one: an apply that fails has no summary.
	done       job.Changes
	made       made
	anything   bool // the plan has something in it
	applying   bool
	summary    string
	drift      []job.Drift
	driftTotal int
}

func newStream(log *logWriter) *stream { return &stream{log: log, onApply: func() {}} }

func (s *stream) Write(line []byte) (int, error) {
	m, ok := parse(line)
	if !ok {
		s.heartbeat.hearText(string(line))
		s.log.line(string(line))
		return len(line), nil
	}
	s.enterApply(m)
	s.heartbeat.hear(m)
	for _, text := range render(m) {
		s.log.line(text)
	}
	s.note(m)
	return len(line), nil
}

// message is one line of the stream: see "Machine-Readable UI" in Terraform's documentation.
type message struct {
	Text       string            `json:"@message"`
	Type       string            `json:"type"`
	Diagnostic diagnostic        `json:"diagnostic"`
	Change     change            `json:"change"`
	Hook       change            `json:"hook"`
	Changes    summary           `json:"changes"`
	Outputs    map[string]output `json:"outputs"`
}

type change struct {
	Resource  address         `json:"resource"`
	Previous  *address        `json:"previous_resource"`
	Action    string          `json:"action"`
	Importing json.RawMessage `json:"importing"`
}

type address struct {
	Addr string `json:"addr"`
}

type summary struct {
	Add       int    `json:"add"`
	Change    int    `json:"change"`
	Import    int    `json:"import"`
	Remove    int    `json:"remove"`
	Operation string `json:"operation"`
}

func (s summary) counts() job.Changes {
	return job.Changes{Add: s.Add, Change: s.Change, Destroy: s.Remove, Import: s.Import}
}

func (s summary) planOfNothing() bool { return s.Operation == "plan" && !s.counts().Any() }

type output struct {
	Sensitive bool            `json:"sensitive"`
	Action    string          `json:"action"`
	Value     json.RawMessage `json:"value"`
}

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

// parse reads a line; what isn't a message, such as Terraform's remarks on the backend, is shown as it is. OpenTofu's
// init leaves the type out.
func parse(line []byte) (message, bool) {
	var m message
	if len(line) > maxMessage || !bytes.HasPrefix(line, []byte("{")) {
		return m, false
	}
	err := json.Unmarshal(line, &m)
	return m, err == nil && (m.Type != "" || m.Text != "")
}

// note keeps the facts.
func (s *stream) note(m message) {
	switch m.Type {
	case "diagnostic":
		s.noteError(m.Diagnostic)
	case "planned_change":
		s.anything = s.anything || changesSomething(m.Change)
	case "resource_drift":
		s.noteDrift(m.Change)
	case "apply_complete":
		count(&s.done, m.Hook.Action)
		s.made.note(m.Hook)
	case "change_summary":
		s.noteSummary(m.Changes, m.Text)
	case "outputs":
		s.noteOutputs(m.Outputs)
	}
}

// initTrouble is what init says on top of the real errors; it is no error of its own.
const initTrouble = "encountered problems during initiali"

func (s *stream) noteError(d diagnostic) {
	if d.Severity != "error" || strings.Contains(d.Summary, initTrouble) {
		return
	}
	s.errorTotal++
	if len(s.errors) < maxErrors {
		d.Snippet = nil
		s.errors = append(s.errors, d)
	}
}

func changesSomething(c change) bool {
	return c.Action != "noop" && c.Action != "read" || len(c.Importing) > 0
}

func (s *stream) noteDrift(c change) {
	if c.Action == "noop" {
		return
	}
	s.driftTotal++
	if len(s.drift) < job.MaxDrift {
		s.drift = append(s.drift, job.Drift{Address: c.Resource.Addr, Actions: []string{c.Action}})
	}
}

func (s *stream) noteSummary(c summary, text string) {
	changes := c.counts()
	s.summary = strings.TrimSpace(text)
	if c.Operation != "plan" {
		s.applied = &changes
		return
	}
	s.planned = &changes
	s.anything = s.anything || changes.Any()
}

// noteOutputs looks for outputs that the plan changes. The message that comes after the apply has values instead.
func (s *stream) noteOutputs(outputs map[string]output) {
	for _, o := range outputs {
		s.anything = s.anything || (o.Action != "" && o.Action != "noop")
	}
}

// enterApply notices that the plan is over: its last messages are the summary and, if there are outputs, those.
func (s *stream) enterApply(m message) {
	if s.planned != nil && s.anything && !s.applying && m.Type != "outputs" {
		s.applying = true
		s.onApply()
	}
}

func count(c *job.Changes, action string) {
	switch action {
	case "create":
		c.Add++
	case "update":
		c.Change++
	case "delete":
		c.Destroy++
	}
}

// line is the error in one line, with file and line if they are known.
func (d diagnostic) line() string {
	where := ""
	if d.Range != nil {
		where = fmt.Sprintf("%s:%d: ", filepath.Clean(d.Range.Filename), d.Range.Start.Line)
	}
	return where + strings.Join(strings.Fields(d.text()), " ")
}

func (d diagnostic) text() string {
	if d.Detail == "" {
		return d.Summary
	}
	return d.Summary + ": " + d.Detail
}

// errorsIn finds the errors in text for people: what an engine says that has no -json for the command, or before it
// comes to reading the flag.
func errorsIn(text string) []diagnostic {
	var found []diagnostic
	for line := range strings.Lines(text) {
		line = strings.Trim(line, "│╷╵ \t\n")
		if summary, ok := strings.CutPrefix(line, "Error: "); ok {
			found = append(found, diagnostic{Summary: summary})
		} else if n := len(found); n > 0 && line != "" {
			found[n-1].Detail = strings.TrimSpace(found[n-1].Detail + "\n" + line)
		}
	}
	return found
}
