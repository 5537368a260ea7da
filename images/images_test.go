package images

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/clock"
)

func silent(string, ...any) {}

func TestPushed(t *testing.T) {
	for repository, want := range map[string]bool{
		"localhost/plumbline":              false,
		"localhost:5000/plumbline":         true,
		"registry.example.com/team/images": true,
	} {
		if got := (Options{Repository: repository}).Pushed(); got != want {
			t.Errorf("%s: got %t, want %t", repository, got, want)
		}
	}
}

func TestFromEnv(t *testing.T) {
	for _, name := range []string{"IMAGE_REPOSITORY", "IMAGE_TAG", "IMAGE_ENGINE", "IMAGE_BASE"} {
		t.Setenv(name, "")
	}
	want := Options{Repository: "localhost/plumbline", Tag: "dev", Base: "scratch"}
	if diff := cmp.Diff(want, FromEnv()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	t.Setenv("IMAGE_TAG", "1.0")
	if got := FromEnv().Tag; got != "1.0" {
		t.Errorf("got tag %q", got)
	}
}

func TestCurrent(t *testing.T) {
	image := Image{Archive: filepath.Join(t.TempDir(), "x.tar"), Key: "1"}
	b := &builder{log: silent}
	write := func(path, content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if b.current(image) {
		t.Error("never built, but up to date")
	}
	write(keyFile(image), "1")
	if b.current(image) {
		t.Error("the archive is gone, but up to date")
	}
	write(image.Archive, "")
	if !b.current(image) {
		t.Error("nothing changed, but not up to date")
	}
	image.Key = "2"
	if b.current(image) {
		t.Error("something changed, but up to date")
	}
}

func TestRootfs(t *testing.T) {
	if _, err := os.Stat(bundle); err != nil {
		t.Fatalf("this machine has no CA certificates: install ca-certificates: %v", err)
	}
	folder := t.TempDir()
	if err := Rootfs(folder); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(folder, "tmp")); err != nil || info.Mode().Perm() != 0o777 {
		t.Errorf("/tmp: got %v, %v", info, err)
	}
	if info, err := os.Stat(filepath.Join(folder, bundle)); err != nil || info.Size() == 0 {
		t.Errorf("CA certificates: got %v, %v", info, err)
	}
}

func TestLockIsExclusive(t *testing.T) {
	b := &builder{cache: t.TempDir(), log: silent, clock: clock.RealClock{}}
	unlock, err := b.lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := b.lock(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("locked twice: got %v, want %v", err, context.Canceled)
	}
	unlock()
	unlock, err = b.lock(t.Context())
	if err != nil {
		t.Fatalf("not unlocked: %v", err)
	}
	unlock()
}

// The build has the engine's folder and no network: both have to be passed on.
func TestBudArgs(t *testing.T) {
	b := &builder{Options: Options{Base: "scratch"}, root: "/src", enginePath: "/bin/tofu"}
	args := b.budArgs("runner", "/t", "/t/id")
	for _, want := range []string{"ENGINE=tofu", "GOPROXY=off", "BASE_IMAGE=scratch", "/bin:/opt/engine:ro", "/t:/tmp"} {
		if !slices.Contains(args, want) {
			t.Errorf("%q lacks %q", args, want)
		}
	}
	if last := args[len(args)-1]; last != "/src" {
		t.Errorf("the context is %q, not the checkout", last)
	}
}
