package images

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/internal/tools"
)

const (
	buildTimeout = 20 * time.Minute
	// home is the Dockerfile's HOME.
	home = "/home/build"
	// tempPrefix marks the folders of builds that go on.
	tempPrefix = ".build-"
)

// ErrNoBuildah says that images can't be built here.
var ErrNoBuildah = errors.New("buildah is missing: install it, or build the Dockerfile's targets with docker or podman")

// buildah builds one image and writes its archive; in the store nothing is left behind.
func (b *builder) buildah(ctx context.Context, image Image) error {
	if err := haveBuildah(ctx, b.log); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	if err := b.sweep(ctx); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(b.folder, tempPrefix)
	if err != nil {
		return fmt.Errorf("making a build folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(temp) }()
	idFile := filepath.Join(temp, "id")
	if err := b.run(ctx, b.budArgs(image.Name, temp, idFile)...); err != nil {
		return err
	}
	id, err := os.ReadFile(idFile)
	if err != nil {
		return fmt.Errorf("reading the image's ID: %w", err)
	}
	archive := filepath.Join(temp, "image.tar")
	err = b.run(ctx, "push", string(id), "docker-archive:"+archive+":"+image.Reference)
	if err == nil && b.Pushed() {
		b.log("pushing %s ...", image.Reference)
		err = b.run(ctx, "push", string(id), "docker://"+image.Reference)
	}
	// Nothing else needs the image in the store, and the next build would only add another.
	err = errors.Join(err, b.run(ctx, "rmi", string(id)))
	if err != nil {
		return err
	}
	return os.Rename(archive, image.Archive)
}

// sweep removes what an interrupted build left: whoever holds the lock is the only one who builds.
func (b *builder) sweep(ctx context.Context) error {
	leftovers, err := filepath.Glob(filepath.Join(b.folder, tempPrefix+"*"))
	if err != nil {
		return fmt.Errorf("looking for interrupted builds: %w", err)
	}
	for _, folder := range leftovers {
		if err := os.RemoveAll(folder); err != nil {
			return fmt.Errorf("removing what an interrupted build left: %w", err)
		}
	}
	return errors.Join(b.run(ctx, "rm", "--all"), b.run(ctx, "rmi", "--prune", "--force"))
}

// budArgs mount the machine's toolchain and caches over an empty build image. Everything in it is fetched by then.
func (b *builder) budArgs(target, temp, idFile string) []string {
	return append([]string{
		"bud", "--isolation", "chroot", "--quiet", "--timestamp", "0", "--target", target, "--iidfile", idFile,
		"--build-arg", "GO_IMAGE=scratch", "--build-arg", "BASE_IMAGE=" + b.Base,
		"--build-arg", "GOPROXY=off", "--build-arg", "ENGINE=" + b.engineName(),
	}, append(b.mounts(temp), b.root)...)
}

func (b *builder) mounts(temp string) []string {
	mounts := []string{
		"-v", b.goroot + ":/usr/local/go:ro",
		"-v", b.modcache + ":/go/pkg/mod",
		"-v", b.gocache + ":" + home + "/.cache/go-build",
		"-v", b.cache + ":" + home + "/.cache/plumbline",
		"-v", b.certs + ":/etc/ssl/certs:ro",
		"-v", temp + ":/tmp",
	}
	if b.enginePath != "" {
		mounts = append(mounts, "-v", filepath.Dir(b.enginePath)+":/opt/engine:ro")
	}
	return mounts
}

func (b *builder) engineName() string {
	if b.enginePath == "" {
		return ""
	}
	return filepath.Base(b.enginePath)
}

func (b *builder) run(ctx context.Context, args ...string) error {
	own := []string{"--root", b.store(), "--runroot", filepath.Join(b.store(), "run")}
	cmd := exec.CommandContext(ctx, "buildah", append(own, args...)...)
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("buildah %s: %w\n%s", args[0], err, strings.TrimSpace(string(output)))
	}
	return nil
}

// store is ours alone, so that sweeping it harms nobody else's containers.
func (b *builder) store() string { return filepath.Join(b.cache, "containers") }

func haveBuildah(ctx context.Context, log tools.Logf) error {
	if _, err := exec.LookPath("buildah"); err == nil {
		return nil
	}
	if err := tools.Debian(ctx, log, "buildah", "ca-certificates"); err != nil {
		return errors.Join(ErrNoBuildah, err)
	}
	if _, err := exec.LookPath("buildah"); err != nil {
		return ErrNoBuildah
	}
	return nil
}
