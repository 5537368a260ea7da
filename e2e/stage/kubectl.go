package stage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

const kubectlTimeout = 2 * time.Minute

// Kubectl runs the real kubectl against the stage's cluster.
type Kubectl struct {
	binary, kubeconfig string
}

// Path of the binary.
func (k *Kubectl) Path() string { return k.binary }

// Kubeconfig is the file that it uses.
func (k *Kubectl) Kubeconfig() string { return k.kubeconfig }

// Run runs kubectl and returns what it printed, without the last line's end.
func (k *Kubectl) Run(ctx context.Context, args ...string) (string, error) {
	return k.Feed(ctx, "", args...)
}

// Feed runs kubectl with a text as its input.
func (k *Kubectl) Feed(ctx context.Context, input string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, kubectlTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, k.binary, args...) //nolint:gosec // G702: the binary is a pinned tool
	cmd.Env = append(os.Environ(), "KUBECONFIG="+k.kubeconfig)
	cmd.Stdin = strings.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", errors.Join(fmt.Errorf("kubectl %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String())), ctx.Err())
	}
	return strings.TrimRight(string(out), "\n"), nil
}
