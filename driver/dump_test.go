package driver

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// TestAStateThatIsPrintedIsTaken: where the engine can't write a file either, the state is caught from its stream,
// saved, and never shown; also one that is larger than any line that is looked into.
func TestAStateThatIsPrintedIsTaken(t *testing.T) {
	b := newBench(t)
	b.useMaking()
	b.env[dumpsVariable] = "yes"
	b.cfg.StatePatience = time.Minute
	b.state.answer = func(method, path string, nth int) int {
		if method == http.MethodPost && path == "/state" && nth == 1 {
			return http.StatusInternalServerError
		}
		return 0
	}
	got := b.run(t.Context())
	if got.Class != job.Applied || got.StateSerial != 9 || b.made() != 1 {
		t.Errorf("%s: %s, serial %d, made %d", got.Class, got.Message, got.StateSerial, b.made())
	}
	if len(b.state.state) < maxMessage {
		t.Errorf("the state has %d bytes", len(b.state.state))
	}
	if strings.Contains(b.log.String()+b.state.archivedLog(), "geheim") {
		t.Error("the state is in the log")
	}
}

func TestWhatIsADump(t *testing.T) {
	tests := []struct {
		name, line, state string
		dump              bool
	}{
		{"a dump", `{"@level":"info","@message":"Emergency state dump","state":{"serial":1},"type":"log"}`,
			`{"serial":1}`, true},
		{"half a dump", `{"@level":"info","@message":"Emergency state dump","state":{"seri`, "", true},
		{"without a state", `{"@level":"info","@message":"Emergency state dump","type":"log"}`, "", true},
		{"a provisioner that says so", `{"@level":"info","@message":"a: Emergency state dump","type":"provision_progress"}`,
			"", false},
		{"text", `Emergency state dump`, "", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newStream(&logWriter{out: &buffer{}})
			if _, err := s.Write([]byte(test.line + "\n")); err != nil {
				t.Fatal(err)
			}
			if isDump([]byte(test.line)) != test.dump || string(s.dumped) != test.state {
				t.Errorf("dump %v, state %s", isDump([]byte(test.line)), s.dumped)
			}
		})
	}
}
