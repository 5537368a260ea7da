package driver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// gate is a writer that takes nothing before it is opened.
type gate struct {
	opened chan struct{}
	got    bytes.Buffer
}

func (g *gate) Write(b []byte) (int, error) {
	<-g.opened
	return g.got.Write(b)
}

// TestOutletThatIsBlocked: whoever writes goes on, and each byte is written or counted.
func TestOutletThatIsBlocked(t *testing.T) {
	g := &gate{opened: make(chan struct{})}
	o := newOutlet(g, time.Millisecond)
	line := strings.Repeat("x", 1023) + "\n"
	const lines = 3 * maxQueue / 1024
	for range lines {
		_, _ = o.Write([]byte(line))
	}
	close(g.opened)
	o.close()
	<-o.done // close itself need not have been that patient
	_, _ = o.Write([]byte("too late"))
	var lost int
	_, note, _ := strings.Cut(g.got.String(), "== ")
	if _, err := fmt.Sscanf(note, "%d bytes of the log are missing here", &lost); err != nil {
		t.Fatal(err)
	}
	if written := strings.Count(g.got.String(), "x\n") * 1024; written+lost != lines*1024 || written < maxQueue-1024 {
		t.Errorf("%d bytes were written and %d lost, of %d", written, lost, lines*1024)
	}
	if strings.Contains(g.got.String(), "too late") {
		t.Error("something was written after the end")
	}
}

// TestOutletThatIsSlow: nothing is lost as long as something moves.
func TestOutletThatIsSlow(t *testing.T) {
	g := &gate{opened: make(chan struct{})}
	o := newOutlet(g, time.Minute)
	text := strings.Repeat("y", maxQueue/2)
	written := make(chan struct{})
	go func() {
		defer close(written)
		for range 5 {
			_, _ = o.Write([]byte(text))
		}
	}()
	for range 5 * maxQueue / 2 / portion {
		g.opened <- struct{}{}
	}
	<-written
	o.close()
	if got := g.got.Len(); got != 5*len(text) {
		t.Errorf("%d bytes arrived of %d", got, 5*len(text))
	}
}

// TestBlockedOutputHoldsNothingUp: the ladder is climbed and the state saved, though nobody reads the log.
func TestBlockedOutputHoldsNothingUp(t *testing.T) {
	b := newBench(t)
	b.useFake("hangs")
	b.cfg.Stdout = &gate{opened: make(chan struct{})}
	b.cfg.Params.Timeouts.Apply = 50 * time.Millisecond
	if got := b.run(t.Context()); got.Class != job.TimedOut || got.StateSerial != 7 {
		t.Errorf("%s: %s, serial %d", got.Class, got.Message, got.StateSerial)
	}
}

// TestClosedOutputKillsNobody: a driver whose log nobody takes carries its Run out.
func TestClosedOutputKillsNobody(t *testing.T) {
	b := newBench(t)
	b.useFake("apply")
	b.writeSpec()
	config, err := json.Marshal(driverConfig{b.cfg.Params, b.cfg.Paths, b.env})
	b.must(err)
	self, err := os.Executable()
	b.must(err)
	read, write, err := os.Pipe()
	b.must(err)
	b.must(read.Close())
	driver := exec.CommandContext(t.Context(), self)
	driver.Env = append(os.Environ(), driverVariable+"="+string(config))
	driver.Stdout, driver.Stderr = write, write
	if err := driver.Run(); err != nil {
		t.Errorf("the driver ended: %v", err)
	}
	if wire, message := b.reported(); message.Class != job.Applied || len(wire) != 1 {
		t.Errorf("reported %+v, left %+v", wire, message)
	}
}

// TestInitOfAnOldEngineIsSeen: one whose init has no -json is seen in the log, and what it says is a sign of life.
func TestInitOfAnOldEngineIsSeen(t *testing.T) {
	b := newBench(t)
	b.useFake("old")
	b.run(t.Context())
	if !strings.Contains(b.log.String(), "\nInitializing the backend...\n") {
		t.Error("what init said is not in the log")
	}
	h := &heartbeat{inWork: map[string]string{}, end: func(error) {}, limit: time.Hour}
	defer h.stop()
	s := newStream(&logWriter{out: &buffer{}})
	s.heartbeat = h
	_, _ = s.Write([]byte("Installing modules...\n"))
	if h.beats != 1 || h.last != "Installing modules..." {
		t.Errorf("%d beats, the last at %q", h.beats, h.last)
	}
}
