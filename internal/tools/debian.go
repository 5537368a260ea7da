package tools

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// ErrMissingPackages says that the machine lacks packages that can't be installed from here.
var ErrMissingPackages = errors.New("packages of the machine are missing")

const installTimeout = 10 * time.Minute

// Debian makes sure that Debian packages are installed. On a machine where it can't install them (not Debian, not
// root) it says which are missing. On a machine without dpkg it trusts that the right ones are there.
func Debian(ctx context.Context, log Logf, packages ...string) error {
	if len(packages) == 0 {
		return nil
	}
	if _, err := exec.LookPath("dpkg-query"); err != nil {
		return nil
	}
	absent := slices.DeleteFunc(slices.Clone(packages), func(name string) bool { return installed(ctx, name) })
	if len(absent) == 0 {
		return nil
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: as root, run: apt-get install --no-install-recommends %s",
			ErrMissingPackages, strings.Join(absent, " "))
	}
	log("installing %s ...", strings.Join(absent, " "))
	return install(ctx, absent)
}

// install tries with the package index as it is first: refreshing it costs seconds and is rarely needed.
func install(ctx context.Context, packages []string) error {
	args := append([]string{"install", "-y", "-q", "--no-install-recommends"}, packages...)
	if aptGet(ctx, args...) == nil {
		return nil
	}
	if err := aptGet(ctx, "update", "-q"); err != nil {
		return fmt.Errorf("refreshing the package index: %w", err)
	}
	if err := aptGet(ctx, args...); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrMissingPackages, strings.Join(packages, " "), err)
	}
	return nil
}

func aptGet(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	// Several test processes may install at once: wait for the lock instead of failing.
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-o", "DPkg::Lock::Timeout=300"}, args...)...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", args[0], err, tail(string(output), 2000))
	}
	return nil
}

func installed(ctx context.Context, name string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	output, err := exec.CommandContext(ctx, "dpkg-query", "-W", "-f", "${db:Status-Abbrev}", name).Output()
	return err == nil && strings.HasPrefix(string(output), "ii")
}
