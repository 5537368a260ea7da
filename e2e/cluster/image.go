package cluster

import (
	"context"
	"errors"
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

// InstallProgram builds a Go program of this checkout and puts it beside kubectl, by each of the names.
func (c *Cluster) InstallProgram(ctx context.Context, pkg string, names ...string) error {
	if err := os.MkdirAll(c.layout.state("bin"), 0o755); err != nil {
		return fmt.Errorf("installing %s: %w", pkg, err)
	}
	first := c.layout.state("bin", names[0])
	if err := compile(ctx, c.layout, pkg, first); err != nil {
		return err
	}
	for _, name := range names[1:] {
		link := c.layout.state("bin", name)
		if err := errors.Join(os.RemoveAll(link), os.Symlink(names[0], link)); err != nil {
			return fmt.Errorf("installing %s: %w", name, err)
		}
	}
	return nil
}

// Bin is where kubectl and the programs that were installed are.
func (c *Cluster) Bin() string { return c.layout.state("bin") }

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
