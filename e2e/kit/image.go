package kit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/plumbline-dev/plumbline/images"
	"github.com/plumbline-dev/plumbline/internal/tools"
)

// built is an image that the tests add to the cluster.
type built struct{ reference, archive string }

// mirrored are the hosts that a provider without a host stands for: Terraform's and OpenTofu's.
var mirrored = []string{"registry.terraform.io", "registry.opentofu.org"}

// runnerImage is the runner with the cloud's provider added to its mirror, in the way that images/README.md tells users
// to add theirs: FROM the runner, COPY into /plugins.
func runnerImage(ctx context.Context, log tools.Logf) (built, error) {
	options := images.FromEnv()
	options.Names = []string{"runner"}
	base, err := images.Build(ctx, log, options)
	if err != nil {
		return built{}, fmt.Errorf("building the runner: %w", err)
	}
	root, err := tools.Checkout()
	if err != nil {
		return built{}, err
	}
	folder := filepath.Join(root, ".build", "e2e")
	if err := os.RemoveAll(folder); err != nil {
		return built{}, fmt.Errorf("removing the former image: %w", err)
	}
	log("building the tests' runner image ...")
	if err := provider(ctx, root, filepath.Join(folder, "plugins")); err != nil {
		return built{}, err
	}
	image := built{
		reference: fmt.Sprintf("%s/runner-e2e:%s", options.Repository, options.Tag),
		archive:   filepath.Join(folder, "runner.tar"),
	}
	return image, extend(ctx, folder, base[0], image)
}

// provider compiles the provider into a mirror folder. It belongs to a module of its own.
func provider(ctx context.Context, root, mirror string) error {
	binary := ""
	for _, host := range mirrored {
		folder := filepath.Join(mirror, host, "plumbline-dev", "cloud", "1.0.0", runtime.GOOS+"_"+runtime.GOARCH)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return fmt.Errorf("making the mirror: %w", err)
		}
		target := filepath.Join(folder, "terraform-provider-cloud_v1.0.0")
		if binary != "" {
			if err := os.Link(binary, target); err != nil {
				return fmt.Errorf("mirroring the provider: %w", err)
			}
			continue
		}
		binary = target
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, ".")
		cmd.Dir = filepath.Join(root, "e2e", "cloud", "provider")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("compiling the provider: %w\n%s", err, output)
		}
	}
	return nil
}

const dockerfile = "ARG RUNNER\nFROM ${RUNNER}\nCOPY plugins/ /plugins/\n"

// extend leaves nothing in buildah's store, neither its own image nor the base that it took in from the archive.
func extend(ctx context.Context, folder string, base images.Image, image built) error {
	file := filepath.Join(folder, "Dockerfile")
	if err := os.WriteFile(file, []byte(dockerfile), 0o600); err != nil {
		return fmt.Errorf("writing the Dockerfile: %w", err)
	}
	idFile := filepath.Join(folder, "id")
	err := buildah(ctx, "bud", "--isolation", "chroot", "--quiet", "--timestamp", "0", "--iidfile", idFile,
		"--build-arg", "RUNNER=docker-archive:"+base.Archive, "-f", file, folder)
	if err != nil {
		return err
	}
	id, err := os.ReadFile(idFile)
	if err != nil {
		return fmt.Errorf("reading the image's ID: %w", err)
	}
	return errors.Join(
		buildah(ctx, "push", string(id), "docker-archive:"+image.archive+":"+image.reference),
		buildah(ctx, "rmi", string(id), base.Reference),
	)
}

func buildah(ctx context.Context, args ...string) error {
	if output, err := exec.CommandContext(ctx, "buildah", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("buildah %s: %w\n%s", args[0], err, strings.TrimSpace(string(output)))
	}
	return nil
}
