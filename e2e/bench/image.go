package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/e2e/stage"
	"github.com/plumbline-dev/plumbline/images"
	"github.com/plumbline-dev/plumbline/internal/tools"
)

const imageTimeout = 5 * time.Minute

// recipe puts the bare Pod's program onto the runner's own image, so that the engine, the providers and all the layers
// below are the same.
const recipe = "FROM docker-archive:%s\nCOPY bare /usr/local/bin/bare\nENTRYPOINT [\"/usr/local/bin/bare\"]\n"

// bareImage makes the image and hands it to the cluster, or to the registry that the cluster pulls from.
func bareImage(ctx context.Context, s *stage.Stage, log tools.Logf) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, imageTimeout)
	defer cancel()
	options := images.FromEnv()
	options.Names = []string{"runner"}
	built, err := images.Build(ctx, log, options)
	if err != nil {
		return "", err
	}
	folder, err := os.MkdirTemp("", "plumbline-bench-")
	if err != nil {
		return "", fmt.Errorf("making a build folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(folder) }()
	log("building the bare Pod's image ...")
	if err := compose(ctx, folder, built[0].Archive); err != nil {
		return "", err
	}
	reference := fmt.Sprintf("%s/bench:%s", options.Repository, options.Tag)
	archive, err := bud(ctx, folder, reference, options.Pushed())
	// What it stands on was taken into buildah's store too.
	err = errors.Join(err, output(exec.CommandContext(ctx, "buildah", "rmi", "--force", built[0].Reference)))
	if err != nil || options.Pushed() {
		return reference, err
	}
	return reference, s.Cluster.Load(ctx, archive)
}

func compose(ctx context.Context, folder, runner string) error {
	root, err := tools.Checkout()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(folder, "bare"),
		"./e2e/bench/bare")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if err := output(cmd); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "Dockerfile"), fmt.Appendf(nil, recipe, runner), 0o600)
}

// bud builds by ID, so that nothing is left in the store.
func bud(ctx context.Context, folder, reference string, push bool) (archive string, err error) {
	buildah := func(args ...string) error { return output(exec.CommandContext(ctx, "buildah", args...)) }
	idFile := filepath.Join(folder, "id")
	err = buildah("bud", "--isolation", "chroot", "--quiet", "--timestamp", "0", "--iidfile", idFile, folder)
	if err != nil {
		return "", err
	}
	id, err := os.ReadFile(idFile)
	if err != nil {
		return "", fmt.Errorf("reading the image's ID: %w", err)
	}
	target := "docker://" + reference
	if !push {
		root, err := tools.Checkout()
		if err != nil {
			return "", err
		}
		archive = filepath.Join(root, ".build", "images", "bench.tar")
		if err := os.RemoveAll(archive); err != nil {
			return "", fmt.Errorf("replacing the archive: %w", err)
		}
		target = "docker-archive:" + archive + ":" + reference
	}
	return archive, errors.Join(buildah("push", string(id), target), buildah("rmi", "--force", string(id)))
}

func output(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", filepath.Base(cmd.Path), cmd.Args[1], err, strings.TrimSpace(string(out)))
	}
	return nil
}
