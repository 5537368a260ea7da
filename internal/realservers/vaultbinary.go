package realservers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/plumbline-dev/plumbline/internal/tools"
)

// VaultVariable names the environment's variable that has the absolute path of the server to run in Vault's place, such
// as OpenBao's. It has to understand `server -config FILE` and `version`.
const VaultVariable = "PLUMBLINE_VAULT"

// vaultBinary is the server that is run: the one that the environment names, or the pinned Vault. What it says of
// itself is logged, for a test's outcome is worth little without it.
func vaultBinary(ctx context.Context, log Logf) (string, error) {
	binary := os.Getenv(VaultVariable)
	if binary == "" {
		built, err := tools.Path(ctx, tools.Logf(log), "vault", "")
		if err != nil {
			return "", fmt.Errorf("finding Vault: %w", err)
		}
		binary = built
	}
	if !filepath.IsAbs(binary) {
		return "", fmt.Errorf("%s is %q: it takes the absolute path of a server's binary, such as /usr/bin/bao",
			VaultVariable, binary)
	}
	said, err := exec.CommandContext(ctx, binary, "version").Output() //nolint:gosec // whoever runs tests chooses
	if err != nil {
		return "", fmt.Errorf("asking %s for its version (%s names it if that is set): %w", binary, VaultVariable, err)
	}
	log("speaking to %s (%s)", strings.TrimSpace(string(said)), binary)
	return binary, nil
}
