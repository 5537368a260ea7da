package driver

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// logs writes as much as no pipe holds to where TF_LOG_PATH says, as an engine does.
func logs(c call) int {
	f, err := os.OpenFile(os.Getenv("TF_LOG_PATH"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o666)
	if err != nil {
		panic(err)
	}
	for i := range 2000 {
		_, _ = fmt.Fprintf(f, "[%s] request %d with %s%s\n", os.Getenv("TF_LOG"), i, os.Getenv("TOKEN"),
			strings.Repeat("x", 99))
	}
	_, _ = fmt.Fprint(f, strings.Repeat("y", 3*maxLine)) // and never an end of the line
	return c.applies("nochange")
}

// TestEngineLog: what an engine logs is in the log, in its archive too, and masked in both.
func TestEngineLog(t *testing.T) {
	for level, want := range map[string]int{"": 0, "DEBUG": 2000} {
		b := newBench(t)
		scene := "logs"
		if level == "" {
			scene = "nochange"
		}
		b.useFake(scene)
		b.credential("cloud", map[string]string{"TOKEN": "geheim-77"})
		b.cfg.Params.Engine = job.Engine{LogLevel: level}
		if got := b.run(t.Context()); got.Class != job.NoChanges {
			t.Fatalf("%s: %s", got.Class, got.Message)
		}
		for place, log := range map[string]string{"the log": b.log.String(), "the archive": b.state.archivedLog()} {
			if got := strings.Count(log, " with ***xxx"); got != want || strings.Contains(log, "geheim-77") {
				t.Errorf("%s of level %q has %d of %d lines, or the secret", place, level, got, want)
			}
			if got := strings.Count(log, "y") >= 3*maxLine; got != (want > 0) {
				t.Errorf("%s of level %q has the long line: %v", place, level, got)
			}
		}
	}
}
