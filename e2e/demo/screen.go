package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// screen is the terminal. Colours only where there is one to show them.
type screen struct {
	mu    sync.Mutex
	out   io.Writer
	color bool
	began time.Time
}

func newScreen(file *os.File) *screen {
	info, err := file.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	return &screen{out: file, color: terminal && os.Getenv("NO_COLOR") == "", began: time.Now()}
}

// ANSI's styles.
const (
	bold  = "1"
	dim   = "2"
	red   = "31"
	green = "32"
	cyan  = "36"
)

func (s *screen) style(code, text string) string {
	if !s.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s *screen) line(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, format+"\n", args...)
}

func (s *screen) heading(text string) { s.line("\n%s", s.style(bold, "== "+text)) }

func (s *screen) title(number int, what step) {
	s.heading(fmt.Sprintf("%d/%d  %s", number, len(steps), what.title))
	s.line("   %s", s.style(dim, what.why))
}

// log takes the lines of what builds and starts things, with the time since the demo began.
func (s *screen) log(format string, args ...any) {
	s.line("   %s %s", s.style(dim, fmt.Sprintf("[%6.1f s]", time.Since(s.began).Seconds())), fmt.Sprintf(format, args...))
}

func (s *screen) say(format string, args ...any) { s.line("   "+format, args...) }

func (s *screen) command(args ...string) {
	words := make([]string, len(args))
	for i, arg := range args {
		words[i] = arg
		if strings.ContainsAny(arg, " {}$*\"") {
			words[i] = "'" + arg + "'"
		}
	}
	s.line("   %s", s.style(cyan, "$ kubectl "+strings.Join(words, " ")))
}

func (s *screen) file(name, text string) {
	s.line("   %s", s.style(cyan, "$ cat "+name))
	s.output(strings.TrimSpace(text))
}

func (s *screen) output(text string) {
	if text == "" {
		text = "(nothing)"
	}
	s.line("     %s", strings.ReplaceAll(text, "\n", "\n     "))
}

func (s *screen) observed(what string, took time.Duration) {
	s.line("   %s %s (%.1f s)", s.style(green, "observed:"), what, took.Seconds())
}

func (s *screen) failed(err error, took time.Duration) {
	s.line("   %s %v (%.1f s)", s.style(red, "FAILED:"), err, took.Seconds())
}

func (s *screen) summary(done []seen) {
	s.heading(fmt.Sprintf("Summary (%.0f s)", time.Since(s.began).Seconds()))
	w := tabwriter.NewWriter(s.out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "STEP\tSECONDS\tOBSERVED")
	for _, row := range done {
		observed, _, _ := strings.Cut(row.observed, "\n")
		if row.failed {
			observed = "FAILED: " + observed
		}
		fmt.Fprintf(w, "%s\t%.1f\t%s\n", row.title, row.took.Seconds(), observed)
	}
	_ = w.Flush() // to the terminal: nothing could be done about an error
}
