package tools

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"k8s.io/utils/clock"
)

const (
	buildTimeout = 45 * time.Minute
	// needsMiB is what the compiler's own cache grows by for the largest tool, with a margin.
	needsMiB = 4096
)

// ErrNoSpace says that the cache folder's file system is too full for a build.
var ErrNoSpace = errors.New("not enough free space")

func build(ctx context.Context, log Logf, name string) (string, error) {
	t, err := lookup(name)
	if err != nil {
		return "", err
	}
	root, err := Checkout()
	if err != nil {
		return "", err
	}
	source := filepath.Join(root, "internal", "tools", name)
	cache, err := Cache()
	if err != nil {
		return "", err
	}
	key, err := keyOf(t, source)
	if err != nil {
		return "", err
	}
	target := filepath.Join(cache, "tools", name+"-"+key)
	if isFolder(target) {
		return target, nil
	}
	return target, job{tool: t, name: name, source: source, target: target, log: log, clock: clock.RealClock{}}.run(ctx)
}

// keyOf names a build by everything that decides its outcome: two checkouts with equal pins share one.
func keyOf(t tool, source string) (string, error) {
	sum := sha256.New()
	fmt.Fprintln(sum, runtime.Version(), runtime.GOOS, runtime.GOARCH, t.packages, t.tags, t.ldflags, t.cgo, t.rename)
	if t.patch != (patch{}) {
		fmt.Fprintln(sum, t.patch)
	}
	files, err := filepath.Glob(filepath.Join(source, "*"))
	if err != nil {
		return "", fmt.Errorf("listing the module: %w", err)
	}
	if len(files) == 0 {
		return "", fmt.Errorf("reading the module: nothing in %s", source)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("reading the module: %w", err)
		}
		fmt.Fprintln(sum, filepath.Base(file), len(data))
		sum.Write(data)
	}
	return fmt.Sprintf("%x", sum.Sum(nil))[:12], nil
}

// job is one build of one tool.
type job struct {
	tool
	name, source, target string
	log                  Logf
	clock                clock.WithTicker
}

func (j job) run(ctx context.Context) error {
	unlock, err := j.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if isFolder(j.target) { // another process built it while this one waited
		return nil
	}
	if err := enoughSpace(filepath.Dir(j.target)); err != nil {
		return err
	}
	if err := Debian(ctx, j.log, j.debian...); err != nil {
		return err
	}
	start := j.clock.Now()
	j.log("building %s (%s the first time) ...", j.name, j.takes)
	stop := j.stillThere(start)
	defer stop()
	if err := j.compile(ctx); err != nil {
		return err
	}
	j.log("built %s in %s", j.name, j.clock.Since(start).Round(time.Second))
	return nil
}

// stillThere tells whoever waits through a long build that it goes on.
func (j job) stillThere(start time.Time) (stop func()) {
	done, ticker := make(chan struct{}), j.clock.NewTicker(30*time.Second)
	go func() {
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C():
				j.log("still building %s after %s ...", j.name, j.clock.Since(start).Round(time.Second))
			}
		}
	}()
	return func() { close(done) }
}

func (j job) compile(ctx context.Context) error {
	temp, err := os.MkdirTemp(filepath.Dir(j.target), "."+j.name+"-")
	if err != nil {
		return fmt.Errorf("making a build folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(temp) }()
	if err := os.Chmod(temp, 0o755); err != nil {
		return fmt.Errorf("opening the build folder to all users: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	modfile, done, err := j.patched(ctx)
	if err != nil {
		return err
	}
	defer done()
	var output strings.Builder
	cmd := j.command(ctx, temp, modfile)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("compiling: %w\n%s", err, tail(output.String(), 4000))
	}
	for from, to := range j.rename {
		if err := os.Rename(filepath.Join(temp, from), filepath.Join(temp, to)); err != nil {
			return fmt.Errorf("renaming a binary: %w", err)
		}
	}
	if err := os.Rename(temp, j.target); err != nil {
		return fmt.Errorf("moving the build into place: %w", err)
	}
	return nil
}

func (j job) command(ctx context.Context, out, modfile string) *exec.Cmd {
	args := []string{"build", "-trimpath", "-buildvcs=false", "-tags", j.tags, "-modfile", modfile,
		"-ldflags", strings.TrimSpace("-s -w " + j.ldflags), "-o", out + "/"}
	return j.goCommand(ctx, append(args, j.packages...)...)
}

func (j job) goCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = j.source
	cgo := "CGO_ENABLED=0"
	if j.cgo {
		cgo = "CGO_ENABLED=1"
	}
	cmd.Env = append(os.Environ(), cgo, "GOFLAGS=-mod=readonly", "GOWORK=off")
	return cmd
}

// lock waits until no other process builds this tool.
func (j job) lock(ctx context.Context) (func(), error) {
	folder := filepath.Dir(j.target)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, fmt.Errorf("making the cache folder: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(folder, "."+j.name+".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the lock: %w", err)
	}
	if err := j.flock(ctx, file); err != nil {
		return nil, errors.Join(fmt.Errorf("waiting for another build of %s: %w", j.name, err), file.Close())
	}
	return func() { closeQuietly(file) }, nil
}

func (j job) flock(ctx context.Context, file *os.File) error {
	for told := false; ; told = true {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		if !told {
			j.log("another process builds %s: waiting for it ...", j.name)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-j.clock.After(200 * time.Millisecond):
		}
	}
}

func enoughSpace(folder string) error {
	free, err := FreeMiB(folder)
	if err != nil {
		return err
	}
	if free < needsMiB {
		return fmt.Errorf("%w in %s: %d MiB, and a build wants %d", ErrNoSpace, folder, free, needsMiB)
	}
	return nil
}

// FreeMiB is the space that is left where a folder lies.
func FreeMiB(folder string) (int, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(folder, &fs); err != nil {
		return 0, fmt.Errorf("looking at the free space: %w", err)
	}
	return int(float64(fs.Bavail) * float64(fs.Bsize) / (1 << 20)), nil
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// closeQuietly closes what was only read or locked: nothing can be lost.
func closeQuietly(c io.Closer) { _ = c.Close() }
