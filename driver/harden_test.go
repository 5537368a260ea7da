package driver

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// hardenVariable makes the test binary a hardened parent, or the child that spies on it.
const hardenVariable = "BE_HARDENED"

const anybody = 65534

// TestAChildCannotLookIntoTheDriver starts a hardened process that isn't root's, and from it another one of the same
// UID that looks into /proc.
func TestAChildCannotLookIntoTheDriver(t *testing.T) {
	parent := exec.CommandContext(t.Context(), "/proc/self/exe")
	parent.Env = []string{hardenVariable + "=parent", "TOKEN=hvs.secret"}
	if os.Getuid() == 0 {
		parent.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: anybody, Gid: anybody}}
	}
	out, err := parent.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{
		"mem: permission denied", "environ: permission denied", "maps: permission denied", "fd: permission denied",
		"cwd: permission denied", "core: 0", "own environ: readable", "parent sees the child: true",
	} {
		if !bytes.Contains(out, []byte(want+"\n")) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}

// beHardened is the parent, which starts the child, or the child.
func beHardened(role string) error {
	if role == "child" {
		spy()
		return nil
	}
	binary, err := os.Open("/proc/self/exe") // its path may lead through folders that are root's
	if err != nil {
		return fmt.Errorf("opening this program: %w", err)
	}
	if err := Harden(); err != nil {
		return err
	}
	child := exec.Command(fmt.Sprintf("/proc/self/fd/%d", binary.Fd()))
	child.Env = []string{hardenVariable + "=child"}
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := child.Start(); err != nil {
		return fmt.Errorf("starting the child: %w", err)
	}
	seen := len(engines(processes(), os.Getpid())) == 1
	fmt.Printf("parent sees the child: %v\n", seen)
	return child.Wait()
}

// spy tells what it can read of its parent.
func spy() {
	for _, name := range []string{"mem", "environ", "maps", "fd", "cwd"} {
		path := fmt.Sprintf("/proc/%d/%s", os.Getppid(), name)
		_, err := os.ReadFile(path)
		if name == "fd" {
			_, err = os.ReadDir(path)
		}
		if name == "cwd" {
			_, err = os.Readlink(path)
		}
		if errors.Is(err, fs.ErrPermission) {
			fmt.Printf("%s: permission denied\n", name)
		} else {
			fmt.Printf("%s: %v\n", name, err)
		}
	}
	var core unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_CORE, &core)
	fmt.Printf("core: %d\n", core.Max)
	if own, err := os.ReadFile("/proc/self/environ"); err == nil && strings.Contains(string(own), hardenVariable) {
		fmt.Println("own environ: readable")
	}
}
