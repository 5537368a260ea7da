package driver

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// Bounds on what is kept of a stream that may be of any size; the log gets all of it.
const maxMessage = 4 << 20 // a longer line is shown cut and not looked into

// stream is Terraform's -json output as it comes: every line goes to the log in readable form, and the few facts that
// the Result needs are kept. tfexec writes whole lines.
type stream struct {
	log *logWriter
	// onApply is called when the plan is made and has changes.
	onApply func()
	// heartbeat, if set, is told of all that comes.
	heartbeat *heartbeat

	errors  verdict
	warned  *warned
	planned *job.Changes
	applied *job.Changes
	// done counts the finished changes one by one: an apply that fails has no summary.
	done job.Changes
	made made
	// journal, if set, keeps what is created; replaces are the addresses at which something was before.
	journal  *journal
	replaces map[string]bool
	// dumped is a state that the engine could neither save nor leave in a file.
	dumped []byte
	// forgets counts what the plan lets leave the state and stay in reality: one of the engines has it in no summary.
	forgets    int
	anything   bool // the plan has something in it
	applying   bool
	summary    string
	drift      []job.Drift
	driftTotal int
}

func newStream(log *logWriter) *stream {
	return &stream{log: log, onApply: func() {}, warned: &warned{}, replaces: map[string]bool{}}
}

func (s *stream) Write(line []byte) (int, error) {
	if isDump(line) {
		s.takeDump(line)
		return len(line), nil
	}
	m, ok := parse(line)
	if !ok {
		s.heartbeat.hearText(string(line))
		s.log.line(string(line))
		return len(line), nil
	}
	if m.Type == "change_summary" {
		m = s.complete(m)
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
	IDKey     string          `json:"id_key"`
	IDValue   string          `json:"id_value"`
}

type address struct {
	Addr   string          `json:"addr"`
	Module string          `json:"module,omitempty"`
	Type   string          `json:"resource_type,omitempty"`
	Name   string          `json:"resource_name,omitempty"`
	Key    json.RawMessage `json:"resource_key,omitempty"`
}

type summary struct {
	Add       int    `json:"add"`
	Change    int    `json:"change"`
	Import    int    `json:"import"`
	Remove    int    `json:"remove"`
	Forget    int    `json:"forget"`
	Operation string `json:"operation"`
}

func (s summary) counts() job.Changes {
	return job.Changes{Add: s.Add, Change: s.Change, Destroy: s.Remove, Import: s.Import, Forget: s.Forget}
}

func (s summary) planOfNothing() bool { return s.Operation == "plan" && !s.counts().Any() }

type output struct {
	Sensitive bool            `json:"sensitive"`
	Action    string          `json:"action"`
	Value     json.RawMessage `json:"value"`
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
		s.warned.hear(m.Diagnostic, s.log.secrets.apply)
	case "planned_change":
		s.notePlanned(m.Change)
	case "resource_drift":
		s.noteDrift(m.Change)
	case "apply_complete":
		count(&s.done, m.Hook.Action)
		s.noteMade(m.Hook)
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
	s.errors.hear(d)
}

// forgetting are the engines' words for what leaves the state and stays in reality.
var forgetting = map[string]bool{"remove": true, "forget": true}

func (s *stream) notePlanned(c change) {
	s.anything = s.anything || changesSomething(c)
	if forgetting[c.Action] {
		s.forgets++
	}
	if c.Action == "replace" {
		s.replaces[c.Resource.Addr] = true
	}
}

func (s *stream) noteMade(c change) {
	s.made.note(c)
	if c.Action == "create" {
		s.journal.add(item{c.Resource, c.IDKey, c.IDValue, s.replaces[c.Resource.Addr]})
	}
}

// complete adds to a summary what is forgotten, in the words of the engine that counts it.
func (s *stream) complete(m message) message {
	if m.Changes.Forget > 0 || s.forgets == 0 {
		return m
	}
	m.Changes.Forget = s.forgets
	words := "%s, %d forgotten."
	if m.Changes.Operation == "plan" {
		words = "%s, %d to forget."
	}
	m.Text = fmt.Sprintf(words, strings.TrimSuffix(strings.TrimSpace(m.Text), "."), s.forgets)
	return m
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

// ofThePlan are the messages that come after a plan's summary and belong to the plan still. One that fails halfway has
// a summary too, and then the errors; warnings of the plan are told while it is applied.
var ofThePlan = map[string]bool{"outputs": true, "diagnostic": true, "log": true}

// completed tells whether an apply that was ended from outside was through all the same: its summary comes when
// everything is done, and the state saved.
func (s *stream) completed(ctx context.Context) bool {
	return ctx.Err() != nil && s.applied != nil && s.errors.total == 0
}

// enterApply notices that the plan is over.
func (s *stream) enterApply(m message) {
	if s.planned != nil && s.anything && !s.applying && !ofThePlan[m.Type] {
		s.applying = true
		s.onApply()
	}
}

// changed is what was changed: the summary's word for it, or else what was counted, for an apply that fails has none.
func (s *stream) changed() job.Changes {
	if s.applied != nil {
		return *s.applied
	}
	return s.done
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
