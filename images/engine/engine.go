// Package engine finds the program that a runner image applies configurations with: Terraform or OpenTofu.
//
//	on the machine (hc-install fs) -> a verified release (hc-install releases) -> OpenTofu from its module
//
// The last one needs no more than a Go module proxy, so there is always an engine. Each way has a deadline: a network
// that swallows packets costs seconds, not the build.
package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-version"
	"github.com/hashicorp/hc-install/fs"
	"github.com/hashicorp/hc-install/product"
	"github.com/hashicorp/hc-install/releases"

	"github.com/plumbline-dev/plumbline/internal/tools"
)

// The engines by the names of their binaries.
const (
	Terraform = "terraform"
	Tofu      = "tofu"
)

const (
	// accepted is which Terraform found on the machine is good enough: older ones lack parts of the -json stream.
	accepted = ">= 1.6"
	// released is the Terraform that is fetched where the machine has none.
	released       = "1.11.4"
	findTimeout    = 30 * time.Second
	connectTimeout = 15 * time.Second
	fetchTimeout   = 10 * time.Minute
)

// ErrUnknown says that there is no engine of that name.
var ErrUnknown = errors.New("unknown engine: want terraform or tofu")

type way struct {
	name string
	find func(ctx context.Context, log tools.Logf) (string, error)
}

// Find returns the path of an engine's binary. An empty name takes whichever can be had, Terraform first.
func Find(ctx context.Context, log tools.Logf, name string) (string, error) {
	if name != "" && name != Terraform && name != Tofu {
		return "", fmt.Errorf("%w, not %q", ErrUnknown, name)
	}
	ways := []way{{Terraform, onMachine}, {Terraform, release}, {Tofu, onPath}, {Tofu, fromModule}}
	var failed []error
	for _, w := range ways {
		if name != "" && name != w.name {
			continue
		}
		path, err := w.find(ctx, log)
		if err == nil {
			log("engine: %s", path)
			return path, nil
		}
		failed = append(failed, err)
	}
	return "", fmt.Errorf("finding an engine: %w", errors.Join(failed...))
}

// Put copies an engine's binary into a folder.
func Put(ctx context.Context, log tools.Logf, name, folder string) error {
	path, err := Find(ctx, log, name)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the engine: %w", err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("making the engine's folder: %w", err)
	}
	if err := os.WriteFile(filepath.Join(folder, filepath.Base(path)), data, 0o755); err != nil {
		return fmt.Errorf("writing the engine: %w", err)
	}
	return nil
}

func onMachine(ctx context.Context, _ tools.Logf) (string, error) {
	wanted, err := version.NewConstraint(accepted)
	if err != nil {
		return "", fmt.Errorf("reading the constraint: %w", err)
	}
	source := &fs.Version{Product: product.Terraform, Constraints: wanted, Timeout: findTimeout}
	path, err := source.Find(ctx)
	if err != nil {
		return "", fmt.Errorf("looking for terraform %s on the machine: %w", accepted, err)
	}
	return path, nil
}

func release(ctx context.Context, log tools.Logf) (string, error) {
	cache, err := tools.Cache()
	if err != nil {
		return "", err
	}
	folder := filepath.Join(cache, "engines", Terraform+"-"+released)
	path := filepath.Join(folder, product.Terraform.BinaryName())
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	log("fetching the release of terraform %s ...", released)
	if err := fetch(ctx, folder); err != nil {
		return "", fmt.Errorf("fetching the release of terraform %s: %w", released, err)
	}
	return path, nil
}

// fetch installs into a temporary folder first, so that an interrupted download is never taken for an engine.
func fetch(ctx context.Context, folder string) error {
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(filepath.Dir(folder), ".engine-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(temp) }()
	source := &releases.ExactVersion{
		Product:    product.Terraform,
		Version:    version.Must(version.NewVersion(released)),
		InstallDir: temp,
		Timeout:    fetchTimeout,
		HTTPClient: &http.Client{Transport: impatient()},
	}
	if _, err := source.Install(ctx); err != nil {
		return err
	}
	if err := os.Chmod(temp, 0o755); err != nil {
		return err
	}
	return os.Rename(temp, folder)
}

// impatient gives up quickly where nobody answers; a slow download may go on.
func impatient() http.RoundTripper {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: connectTimeout}).DialContext,
		TLSHandshakeTimeout:   connectTimeout,
		ResponseHeaderTimeout: connectTimeout,
	}
}

func onPath(context.Context, tools.Logf) (string, error) {
	path, err := exec.LookPath(Tofu)
	if err != nil {
		return "", fmt.Errorf("looking for tofu on the machine: %w", err)
	}
	return filepath.Abs(path)
}

func fromModule(ctx context.Context, log tools.Logf) (string, error) {
	return tools.Path(ctx, log, Tofu, Tofu)
}
