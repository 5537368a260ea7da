package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/plumbline-dev/plumbline/e2e/cluster/archive"
)

// compile builds a Go program of this checkout as a static binary.
func compile(ctx context.Context, l layout, pkg, to string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", to, pkg)
	cmd.Dir = l.checkout
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("compiling %s: %w\n%s", pkg, err, output)
	}
	return nil
}

// makePauseImage makes the image of every Pod's sandbox.
func makePauseImage(ctx context.Context, l layout) (string, error) {
	binary, to := l.state("bin", "pause"), l.state("bin", "pause.tar")
	if err := compile(ctx, l, "./e2e/cluster/pause", binary); err != nil {
		return "", err
	}
	return to, archive.Write(to, archive.Image{
		Name:       pauseImage,
		Files:      map[string]string{"/pause": binary},
		Entrypoint: []string{"/pause"},
		User:       "65535:65535",
	})
}

// importImages hands archives, as docker or OCI write them, to containerd.
func importImages(ctx context.Context, bin map[string]string, tars ...string) error {
	for _, tar := range tars {
		_, err := command(ctx, nil, filepath.Join(bin["containerd"], "ctr"),
			"--address", containerdSocket(), "--namespace", "k8s.io", "images", "import", tar)
		if err != nil {
			return fmt.Errorf("loading %s: %w", filepath.Base(tar), err)
		}
	}
	return nil
}
