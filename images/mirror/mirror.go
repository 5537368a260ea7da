// Package mirror lays providers out as the filesystem mirror that terraform init reads in a runner image.
//
//	internal/tools --binaries--> HOST/NAMESPACE/TYPE/VERSION/OS_ARCH/terraform-provider-TYPE_vVERSION
//
// Terraform and OpenTofu each have a registry of their own that a plain "namespace/type" means. Both are served: the
// second host holds links, so that the image carries every provider once.
package mirror

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/plumbline-dev/plumbline/internal/tools"
)

const (
	terraformHost = "registry.terraform.io"
	tofuHost      = "registry.opentofu.org"
)

// Provider is one provider of the mirror, built from its Go module.
type Provider struct {
	Namespace, Type string
	// Tool is its name among the pinned tools, module the Go module that its go.mod pins.
	Tool, module string
}

// Providers are those that a runner image carries.
var Providers = []Provider{
	{"gavinbunney", "kubectl", "provider-kubectl", "github.com/gavinbunney/terraform-provider-kubectl"},
	{"hashicorp", "time", "provider-time", "github.com/hashicorp/terraform-provider-time"},
}

// ErrNotPinned says that a provider's go.mod does not name its version.
var ErrNotPinned = errors.New("no version is pinned")

// Put builds the providers where needed and lays them out in a folder.
func Put(ctx context.Context, log tools.Logf, folder string) error {
	for _, provider := range Providers {
		if err := provider.put(ctx, log, folder); err != nil {
			return fmt.Errorf("mirroring %s/%s: %w", provider.Namespace, provider.Type, err)
		}
	}
	return nil
}

func (p Provider) put(ctx context.Context, log tools.Logf, folder string) error {
	binary, err := tools.Path(ctx, log, p.Tool, "")
	if err != nil {
		return err
	}
	version, err := p.version()
	if err != nil {
		return err
	}
	place := filepath.Join(p.Namespace, p.Type, version, runtime.GOOS+"_"+runtime.GOARCH)
	target := filepath.Join(folder, terraformHost, place)
	if err := os.MkdirAll(target, 0o755); err != nil {
		return fmt.Errorf("making the provider's folder: %w", err)
	}
	data, err := os.ReadFile(binary)
	if err != nil {
		return fmt.Errorf("reading the provider: %w", err)
	}
	name := fmt.Sprintf("terraform-provider-%s_v%s", p.Type, version)
	if err := os.WriteFile(filepath.Join(target, name), data, 0o755); err != nil {
		return fmt.Errorf("writing the provider: %w", err)
	}
	return link(target, filepath.Join(folder, tofuHost, place))
}

// link is relative: the mirror's folder is another one in the image than where it was made.
func link(target, name string) error {
	folder := filepath.Dir(name)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("making the link's folder: %w", err)
	}
	relative, err := filepath.Rel(folder, target)
	if err != nil {
		return fmt.Errorf("linking: %w", err)
	}
	if err := os.Symlink(relative, name); err != nil {
		return fmt.Errorf("linking: %w", err)
	}
	return nil
}

// version is read where it is pinned, so that it stands in one place.
func (p Provider) version() (string, error) {
	root, err := tools.Checkout()
	if err != nil {
		return "", err
	}
	data, err := os.ReadFile(filepath.Join(root, "internal", "tools", p.Tool, "go.mod"))
	if err != nil {
		return "", fmt.Errorf("reading the pin: %w", err)
	}
	return pinned(string(data), p.module)
}

func pinned(gomod, module string) (string, error) {
	for line := range strings.Lines(gomod) {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(fields) >= 2 && fields[0] == module {
			return strings.TrimPrefix(fields[1], "v"), nil
		}
	}
	return "", fmt.Errorf("%w for %s", ErrNotPinned, module)
}
