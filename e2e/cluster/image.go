package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"

	"github.com/plumbline-dev/plumbline/e2e/cluster/archive"
)

// LoadProgram builds a Go program of this checkout, such as "./e2e/cluster/pause", and hands it to the node as an image
// with nothing else in it: what a test needs to run in a Pod rarely needs more.
func (c *Cluster) LoadProgram(ctx context.Context, image, pkg string) error {
	tar, err := programImage(ctx, c.layout, image, pkg)
	if err != nil {
		return err
	}
	return c.Load(ctx, tar)
}

func programImage(ctx context.Context, l layout, image, pkg string) (string, error) {
	name := path.Base(pkg)
	binary := l.state("bin", name)
	if err := compile(ctx, l, pkg, binary); err != nil {
		return "", err
	}
	tar := binary + ".tar"
	return tar, archive.Write(tar, archive.Image{
		Name:       image,
		Files:      map[string]string{"/" + name: binary},
		Entrypoint: []string{"/" + name},
	})
}

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
