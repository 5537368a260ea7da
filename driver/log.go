package driver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// maxLine is where the log cuts a line: the kubelet splits long ones anyway, and nobody reads them.
const maxLine = 64 << 10

// logWriter writes whole lines, from any goroutine, at once: somebody is reading along.
type logWriter struct {
	mu  sync.Mutex
	out io.Writer
	// archive, if set, gets the same.
	archive io.Writer
	// secrets stand in neither.
	secrets masker
}

// line writes text, which may be of several lines, cutting the long ones. A log that can't be written is no reason to
// stop Terraform.
func (l *logWriter) line(text string) {
	var b bytes.Buffer
	for part := range strings.SplitSeq(strings.TrimSuffix(l.secrets.apply(text), "\n"), "\n") {
		b.WriteString(cutLine(part))
		b.WriteByte('\n')
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.out.Write(b.Bytes())
	if l.archive != nil {
		_, _ = l.archive.Write(b.Bytes())
	}
}

func (l *logWriter) printf(format string, args ...any) { l.line(fmt.Sprintf(format, args...)) }

func (l *logWriter) heading(step string, attempt int) {
	if attempt > 1 {
		step += fmt.Sprintf(" (attempt %d)", attempt)
	}
	l.printf("== %s", step)
}

func cutLine(line string) string {
	if len(line) <= maxLine {
		return line
	}
	end := maxLine
	for end > 0 && !utf8.RuneStart(line[end]) {
		end--
	}
	return fmt.Sprintf("%s ... (%d bytes more)", line[:end], len(line)-end)
}

// tail passes all on to the log, in whole lines however it comes, and keeps the end, where the errors are.
type tail struct {
	out  *logWriter
	mu   sync.Mutex
	kept []byte
	// begun is a line without its end: half a secret would not be known for one.
	begun []byte
}

const maxTail = 32 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b[max(0, len(b)-maxTail):]...)
	t.kept = t.kept[max(0, len(t.kept)-maxTail):]
	t.begun = append(t.begun, b...)
	if end := bytes.LastIndexByte(t.begun, '\n') + 1; end > 0 {
		t.out.line(string(t.begun[:end]))
		t.begun = bytes.Clone(t.begun[end:])
	}
	if len(t.begun) > maxMessage {
		t.pass()
	}
	return len(b), nil
}

// flush passes on a last line that has no end.
func (t *tail) flush() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pass()
}

func (t *tail) pass() {
	if len(t.begun) > 0 {
		t.out.line(string(t.begun))
		t.begun = nil
	}
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.kept)
}

// renderers turn a message into the lines that Terraform shows people for it. What isn't listed is shown by its own
// text, and the two that are nil not at all: `terraform apply` doesn't show them either.
var renderers = map[string]func(message) []string{
	"version":          nil,
	"refresh_complete": nil,
	"diagnostic":       renderDiagnostic,
	"planned_change":   func(m message) []string { return []string{"  # " + renderChange(m.Change)} },
	"resource_drift":   func(m message) []string { return renderDrift(m.Change) },
	"outputs":          func(m message) []string { return renderOutputs(m.Outputs) },
	"change_summary":   renderSummary,
}

func render(m message) []string {
	renderer, special := renderers[m.Type]
	switch {
	case renderer != nil:
		return renderer(m)
	case special || m.Text == "":
		return nil
	default:
		return []string{m.Text}
	}
}

func renderSummary(m message) []string {
	if m.Changes.planOfNothing() {
		return []string{"No changes of resources are needed."}
	}
	return []string{m.Text}
}

var actions = map[string]string{
	"create":  "will be created",
	"update":  "will be updated in-place",
	"delete":  "will be destroyed",
	"replace": "must be replaced",
	"read":    "will be read during apply",
	"remove":  "will no longer be managed by Terraform, but will not be destroyed",
	"forget":  "will no longer be managed by Terraform, but will not be destroyed",
	"import":  "will be imported",
}

func renderChange(c change) string {
	switch {
	case c.Action == "move" && c.Previous != nil:
		return fmt.Sprintf("%s has moved to %s", c.Previous.Addr, c.Resource.Addr)
	case c.Action == "noop" && len(c.Importing) > 0:
		return c.Resource.Addr + " will be imported"
	}
	what, known := actions[c.Action]
	if !known {
		what = c.Action
	}
	if c.Previous != nil && c.Previous.Addr != c.Resource.Addr {
		what += " (moved from " + c.Previous.Addr + ")"
	}
	return c.Resource.Addr + " " + what
}

func renderDrift(c change) []string {
	what := "has changed"
	switch c.Action {
	case "noop":
		return nil
	case "delete":
		what = "has been deleted"
	}
	return []string{fmt.Sprintf("Note: %s %s outside of Terraform", c.Resource.Addr, what)}
}

func renderOutputs(outputs map[string]output) []string {
	var changes, values []string
	for _, name := range slices.Sorted(maps.Keys(outputs)) {
		o := outputs[name]
		switch {
		case o.Action == "noop":
		case o.Action != "":
			changes = append(changes, fmt.Sprintf("  %s %s", actionSign(o.Action), name))
		case o.Sensitive:
			values = append(values, name+" = <sensitive>")
		default:
			values = append(values, name+" = "+renderValue(o.Value))
		}
	}
	var lines []string
	if len(changes) > 0 {
		lines = append(append(lines, "Changes to Outputs:"), changes...)
	}
	if len(values) > 0 {
		lines = append(append(lines, "Outputs:"), values...)
	}
	return lines
}

func actionSign(action string) string {
	switch action {
	case "create":
		return "+"
	case "delete":
		return "-"
	default:
		return "~"
	}
}

func renderValue(v json.RawMessage) string {
	var b bytes.Buffer
	if err := json.Indent(&b, v, "", "  "); err != nil {
		return string(v)
	}
	return b.String()
}

// lockFileNews is a warning about a file that ends with the Pod.
const lockFileNews = "Incomplete lock file information for providers"

// renderDiagnostic draws Terraform's box.
func renderDiagnostic(m message) []string {
	d := m.Diagnostic
	if d.Summary == lockFileNews {
		return nil
	}
	severity := "Error"
	if d.Severity == "warning" {
		severity = "Warning"
	}
	body := []string{severity + ": " + d.Summary}
	if d.Address != "" {
		body = append(body, "", "  with "+d.Address+",")
	}
	if d.Range != nil {
		body = append(body, "", "  "+d.place())
	}
	body = append(body, d.code()...)
	if d.Detail != "" {
		body = append(body, "", d.Detail)
	}
	lines := []string{"╷"}
	for _, text := range body {
		for part := range strings.SplitSeq(text, "\n") {
			lines = append(lines, strings.TrimRight("│ "+part, " "))
		}
	}
	return append(lines, "╵")
}

func (d diagnostic) place() string {
	where := fmt.Sprintf("on %s line %d", d.Range.Filename, d.Range.Start.Line)
	if d.Snippet != nil && d.Snippet.Context != nil {
		where += ", in " + *d.Snippet.Context
	}
	return where + ":"
}

func (d diagnostic) code() []string {
	if d.Snippet == nil {
		return nil
	}
	var lines []string
	for i, code := range strings.Split(d.Snippet.Code, "\n") {
		lines = append(lines, fmt.Sprintf("%4d: %s", d.Snippet.StartLine+i, code))
	}
	if len(d.Snippet.Values) > 0 {
		lines = append(lines, "    ├────────────────")
	}
	for _, v := range d.Snippet.Values {
		lines = append(lines, fmt.Sprintf("    │ %s %s", v.Traversal, v.Statement))
	}
	return lines
}
