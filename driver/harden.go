package driver

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Harden keeps what this process knows to itself: neither Terraform nor a provider, which run under the same UID, can
// attach to it or read its memory, its environment or its open files in /proc, for the kernel gives those of a process
// that isn't dumpable to root. Nothing that is started from here leaves a core dump either. Programs that it starts are
// dumpable again, and so the driver sees them as before.
func Harden() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("making the process not dumpable: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbidding core dumps: %w", err)
	}
	return nil
}
