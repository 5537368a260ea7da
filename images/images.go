// Package images builds Plumbline's images from the Dockerfile, on a machine that needs neither a Docker daemon nor a
// registry: buildah, with the machine's own Go toolchain, caches and engine mounted into the build.
//
//	sources --key--> unchanged? --no--> buildah bud --target NAME --> .build/images/NAME.tar (docker-archive)
//
// Everything that needs the network (modules, providers, the engine) is fetched on the machine first; the build itself
// goes without. An image whose key stands beside its archive is not built again.
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

	"k8s.io/utils/clock"

	"github.com/plumbline-dev/plumbline/images/engine"
	"github.com/plumbline-dev/plumbline/images/mirror"
	"github.com/plumbline-dev/plumbline/internal/tools"
)

// Names are the images, which are also the Dockerfile's targets.
var Names = []string{"controller", "state", "runner"}

const (
	local      = "localhost/plumbline"
	defaultTag = "dev"
)

// Options say what to build.
type Options struct {
	// Names of the images; all of them when empty.
	Names []string
	// Repository and Tag make the references REPOSITORY/NAME:TAG.
	Repository, Tag string
	// Engine is terraform, tofu, or empty for whichever can be had.
	Engine string
	// Base is the image that the images stand on.
	Base string
}

// FromEnv are the options as the Makefile's variables set them.
func FromEnv() Options {
	return Options{
		Repository: envOr("IMAGE_REPOSITORY", local),
		Tag:        envOr("IMAGE_TAG", defaultTag),
		Engine:     os.Getenv("IMAGE_ENGINE"),
		Base:       envOr("IMAGE_BASE", "scratch"),
	}
}

// Pushed says whether the images go to a registry: a repository on localhost is only a name.
func (o Options) Pushed() bool { return !strings.HasPrefix(o.Repository, "localhost/") }

// Image is a built image.
type Image struct {
	// Name is one of Names, Reference what a Pod calls it.
	Name, Reference string
	// Archive is the docker-archive.
	Archive string
	// Key changes whenever what the image is made from does.
	Key string
}

// Build builds what has changed and returns all the images asked for.
func Build(ctx context.Context, log tools.Logf, options Options) ([]Image, error) {
	b, err := prepare(ctx, log, options)
	if err != nil {
		return nil, fmt.Errorf("preparing the image builds: %w", err)
	}
	unlock, err := b.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	names := options.Names
	if len(names) == 0 {
		names = Names
	}
	built := make([]Image, 0, len(names))
	for _, name := range names {
		image, err := b.image(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("building image %s: %w", name, err)
		}
		built = append(built, image)
	}
	return built, nil
}

// builder holds what the builds of one call share.
type builder struct {
	Options
	root, folder, cache, certs string
	// goroot and modcache are mounted into the build, and the compiler's cache.
	goroot, modcache, gocache string
	// enginePath is the engine on the machine.
	enginePath string
	log        tools.Logf
	clock      clock.Clock
}

func prepare(ctx context.Context, log tools.Logf, options Options) (*builder, error) {
	root, err := tools.Checkout()
	if err != nil {
		return nil, err
	}
	cache, err := tools.Cache()
	if err != nil {
		return nil, err
	}
	b := &builder{Options: options, root: root, cache: cache, log: log, clock: clock.RealClock{}}
	b.folder = filepath.Join(root, ".build", "images")
	b.certs = filepath.Join(root, ".build", "certs")
	return b, errors.Join(b.goEnv(ctx), certificates(b.certs), os.MkdirAll(b.folder, 0o755))
}

func (b *builder) goEnv(ctx context.Context) error {
	output, err := b.goTool(ctx, "env", "GOROOT", "GOMODCACHE", "GOCACHE")
	if err != nil {
		return err
	}
	lines := strings.Fields(output)
	if len(lines) != 3 {
		return fmt.Errorf("reading the Go toolchain's settings: unexpected %q", output)
	}
	b.goroot, b.modcache, b.gocache = lines[0], lines[1], lines[2]
	return nil
}

// image builds one image unless its archive is there and nothing has changed.
func (b *builder) image(ctx context.Context, name string) (Image, error) {
	if name == "runner" {
		if err := b.ingredients(ctx); err != nil {
			return Image{}, err
		}
	}
	key, err := b.key(ctx, name)
	if err != nil {
		return Image{}, fmt.Errorf("looking for changes: %w", err)
	}
	image := Image{
		Name:      name,
		Reference: fmt.Sprintf("%s/%s:%s", b.Repository, name, b.Tag),
		Archive:   filepath.Join(b.folder, b.archive(name)),
		Key:       key,
	}
	if b.current(image) {
		b.log("image %s is up to date", image.Reference)
		return image, nil
	}
	return image, b.build(ctx, image)
}

// archive is named after the image, and after its tag where someone chose one: images of two engines lie side by side.
func (b *builder) archive(name string) string {
	if b.Tag == defaultTag {
		return name + ".tar"
	}
	return name + "-" + b.Tag + ".tar"
}

func (b *builder) build(ctx context.Context, image Image) error {
	start := b.clock.Now()
	b.log("building image %s ...", image.Reference)
	if err := os.RemoveAll(keyFile(image)); err != nil {
		return fmt.Errorf("forgetting the former build: %w", err)
	}
	if _, err := b.goTool(ctx, "mod", "download"); err != nil {
		return fmt.Errorf("downloading modules: %w", err)
	}
	if err := b.buildah(ctx, image); err != nil {
		return err
	}
	if err := os.WriteFile(keyFile(image), []byte(image.Key), 0o644); err != nil {
		return fmt.Errorf("noting what was built: %w", err)
	}
	b.log("built image %s in %s: %s", image.Reference, b.clock.Since(start).Round(time.Second), image.Archive)
	return nil
}

// ingredients makes sure that what a runner image carries is on the machine before the build, which has no network.
func (b *builder) ingredients(ctx context.Context) error {
	path, err := engine.Find(ctx, b.log, b.Engine)
	if err != nil {
		return err
	}
	b.enginePath = path
	for _, provider := range mirror.Providers {
		if _, err := tools.Build(ctx, b.log, provider.Tool); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) current(image Image) bool {
	key, err := os.ReadFile(keyFile(image))
	if err != nil || string(key) != image.Key {
		return false
	}
	_, err = os.Stat(image.Archive)
	return err == nil
}

func keyFile(image Image) string { return image.Archive + ".key" }

func (b *builder) goTool(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, goTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = b.root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	output, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(output), nil
}

const goTimeout = 15 * time.Minute

func envOr(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}
