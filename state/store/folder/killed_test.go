package folder

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/plumbline-dev/plumbline/state"
)

// writerVariable makes this test binary a writer into the store that it names.
const writerVariable = "FOLDER_WRITER"

func TestMain(m *testing.M) {
	if root := os.Getenv(writerVariable); root != "" {
		if err := writeForEver(root); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

const killedSize = 1 << 20

// writeForEver says which key it begins with; keys are of its process, so that writers after each other don't meet.
func writeForEver(root string) error {
	s, err := Open(root)
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		key := fmt.Sprintf("state/%d/%06d", os.Getpid(), n)
		fmt.Println(key)
		if err := s.Create(context.Background(), key, bytes.Repeat([]byte{byte(n)}, killedSize)); err != nil {
			return err
		}
	}
}

// TestWritersThatAreKilled with SIGKILL at moments all along a write leave whole values, and what they said to have
// begun last at most is missing.
func TestWritersThatAreKilled(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	whole, missing := 0, 0
	for i := range 40 {
		begun := killedWriter(t, root, time.Duration(i)*200*time.Microsecond)
		for j, key := range begun {
			data, err := s.Get(t.Context(), key)
			last := j == len(begun)-1
			switch {
			case err == nil && isWhole(data):
				whole++
			case last && err != nil && isMissing(err):
				missing++
			default:
				t.Fatalf("writer %d, key %d of %d: %d bytes, %v", i, j, len(begun), len(data), err)
			}
		}
	}
	t.Logf("40 writers killed: %d values whole, %d not there", whole, missing)
	if missing == 0 {
		t.Error("nobody was killed in a write: nothing was shown")
	}
	if n, err := s.Sweep(t.Context(), time.Now().Add(time.Hour)); err != nil || n > missing {
		t.Errorf("swept %d, %v; %d were left", n, err, missing)
	}
}

// isWhole tells a value that one write made: it is of one byte, again and again.
func isWhole(data []byte) bool {
	return len(data) == killedSize && bytes.Count(data, data[:1]) == killedSize
}

func isMissing(err error) bool { return errors.Is(err, state.ErrNotFound) }

// killedWriter is killed so long after it has begun its third write, and returns what it has begun.
func killedWriter(t *testing.T, root string, after time.Duration) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), writerVariable+"="+root)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var begun []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if begun = append(begun, lines.Text()); len(begun) == 3 {
			time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		}
	}
	_ = cmd.Wait() // it was killed
	return begun
}
