package driver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// reapVariable makes the test binary the first process of a container, or what runs in it.
const reapVariable = "BE_REAPED"

const orphanLimit = 20 * time.Second

// beReaped is the first process when it is told "first ROLE", and ROLE itself otherwise.
func beReaped(role string) int {
	if rest, first := strings.CutPrefix(role, "first "); first {
		// Orphans come to it as they do to the first process of a container.
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			panic(err)
		}
		status, err := Reap(os.Args, []string{reapVariable + "=" + rest, "PATH=" + os.Getenv("PATH")})
		if err != nil {
			panic(err)
		}
		return status
	}
	switch role {
	case "leaves an orphan":
		return leaveOrphan()
	case "waits":
		asked := interrupted()
		fmt.Println("ready")
		<-asked
		return 9
	case "is killed":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	return 0
}

// leaveOrphan returns 7 once an orphan that has ended is gone for good, and after the status of its own child was read.
func leaveOrphan() int {
	out, err := exec.Command("sh", "-c", "sleep 0.05 >/dev/null & echo $!; exit 3").Output()
	if e := (*exec.ExitError)(nil); !errors.As(err, &e) || e.ExitCode() != 3 {
		fmt.Println("the child's own status is lost:", err)
		return 1
	}
	limit := time.After(orphanLimit)
	for {
		if _, err := os.Stat("/proc/" + strings.TrimSpace(string(out))); err != nil {
			return 7
		}
		select {
		case <-limit:
			return 2
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// TestReap: orphans don't stay, the child's own children keep their status, and the child's end is passed on.
func TestReap(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for role, want := range map[string]int{"leaves an orphan": 7, "waits": 9, "is killed": 137, "ends": 0} {
		t.Run(role, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), orphanLimit)
			defer cancel()
			cmd := exec.CommandContext(ctx, self)
			cmd.Env = append(os.Environ(), reapVariable+"=first "+role)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			for lines := bufio.NewScanner(out); lines.Scan(); {
				t.Log(lines.Text())
				if lines.Text() == "ready" {
					_ = cmd.Process.Signal(os.Interrupt)
				}
			}
			_ = cmd.Wait()
			if got := cmd.ProcessState.ExitCode(); got != want {
				t.Errorf("it ended with %d, want %d", got, want)
			}
		})
	}
}
