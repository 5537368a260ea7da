// Package install puts Plumbline into a cluster as a user would: images, definitions, Helm chart. The demo, the
// end-to-end tests, the benchmark and `make up` all come through here.
//
//	images.Build ‖ cluster.Up --> load (or push) --> CRDs --> namespace (restricted) --> helm upgrade --install --wait
//
// Everything is repeatable: what is up to date is left alone, and Pods are replaced only when their image changed.
package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/plumbline-dev/plumbline/e2e/cluster"
	"github.com/plumbline-dev/plumbline/images"
	"github.com/plumbline-dev/plumbline/internal/tools"
)

const (
	// Namespace is where Plumbline runs.
	Namespace = "plumbline-system"
	// Release is the Helm release.
	Release = "plumbline"

	timeout     = 10 * time.Minute
	helmTimeout = 5 * time.Minute
)

// ErrNotPushed says that a cluster that isn't ours can't get at the images.
var ErrNotPushed = errors.New("the cluster that PLUMBLINE_KUBECONFIG names pulls its images: " +
	"set IMAGE_REPOSITORY to a repository that this machine may push to and that cluster may pull from")

// Options say what to install and where.
type Options struct {
	// Log takes a line per step.
	Log tools.Logf
	// Images that the chart is to use, as images.Build returned them.
	Images []images.Image
	// Kubeconfig of the cluster.
	Kubeconfig string
	// Values for the chart, as for helm's --set-json: path=JSON.
	Values []string
}

// Up makes sure that a cluster runs and that this checkout's Plumbline is installed in it.
func Up(ctx context.Context, log tools.Logf) (*cluster.Cluster, error) {
	options := images.FromEnv()
	external := os.Getenv("PLUMBLINE_KUBECONFIG") != ""
	if external && !options.Pushed() {
		return nil, ErrNotPushed
	}
	var found *cluster.Cluster
	var built []images.Image
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		found, err = cluster.Up(groupCtx, cluster.Options{Log: log})
		return err
	})
	group.Go(func() (err error) {
		built, err = images.Build(groupCtx, log, options)
		return err
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if err := found.InstallProgram(ctx, "./cmd/plumbline", "plumbline", "kubectl-plumbline"); err != nil {
		return nil, err
	}
	if !external {
		if err := load(ctx, log, found, built); err != nil {
			return nil, err
		}
	}
	return found, Install(ctx, Options{Log: log, Images: built, Kubeconfig: found.Kubeconfig()})
}

// load hands the images to the node.
func load(ctx context.Context, log tools.Logf, c *cluster.Cluster, built []images.Image) error {
	log("loading the images ...")
	archives := make([]string, len(built))
	for i, image := range built {
		archives[i] = image.Archive
	}
	if err := c.Load(ctx, archives...); err != nil {
		return fmt.Errorf("loading the images: %w", err)
	}
	return nil
}

// Install installs or upgrades Plumbline and waits until it is available.
func Install(ctx context.Context, options Options) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	root, err := tools.Checkout()
	if err != nil {
		return err
	}
	i := installer{Options: options, root: root}
	for _, step := range []func(context.Context) error{i.definitions, i.namespace, i.chart} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("installing Plumbline: %w", err)
		}
	}
	options.Log("Plumbline is available in namespace %s", Namespace)
	return nil
}

// Remove uninstalls Plumbline. The definitions stay, and with them every Workspace.
func Remove(ctx context.Context, log tools.Logf, kubeconfig string) error {
	i := installer{Options: Options{Log: log, Kubeconfig: kubeconfig}}
	if err := i.uninstall(ctx); err != nil {
		return fmt.Errorf("removing Plumbline: %w", err)
	}
	return nil
}

type installer struct {
	Options
	root string
}

// definitions come before the chart, which Helm would install but never upgrade.
func (i installer) definitions(ctx context.Context) error {
	crds := filepath.Join(i.root, "deploy", "crds")
	if err := i.kubectl(ctx, nil, "apply", "--server-side", "--force-conflicts", "-f", crds); err != nil {
		return err
	}
	return i.kubectl(ctx, nil, "wait", "--for=condition=Established", "--timeout=60s", "-f", crds)
}

// namespace is made here because Helm can't label one: it enforces what the chart promises.
func (i installer) namespace(ctx context.Context) error {
	manifest := "{apiVersion: v1, kind: Namespace, metadata: {name: " + Namespace + ", labels: {" +
		"pod-security.kubernetes.io/enforce: restricted}}}"
	return i.kubectl(ctx, []byte(manifest), "apply", "--server-side", "-f", "-")
}

func (i installer) chart(ctx context.Context) error {
	i.Log("installing the chart ...")
	err := i.upgrade(ctx)
	if err != nil && strings.Contains(err.Error(), "another operation") {
		// Someone ended an earlier helm in mid-air, which leaves the release locked. State and Workspaces aren't part of it.
		err = errors.Join(i.uninstall(ctx), i.upgrade(ctx))
	}
	return err
}

func (i installer) upgrade(ctx context.Context) error {
	args := []string{"upgrade", "--install", Release, filepath.Join(i.root, "deploy", "chart"),
		"--namespace", Namespace, "--skip-crds", "--wait", "--timeout", helmTimeout.String()}
	return i.helm(ctx, append(args, i.values()...)...)
}

func (i installer) uninstall(ctx context.Context) error {
	return i.helm(ctx, "uninstall", Release, "--namespace", Namespace, "--ignore-not-found", "--wait")
}

// values name the images. The key as an annotation replaces Pods whose image changed under the same name.
func (i installer) values() []string {
	var args []string
	set := func(name, value string) { args = append(args, "--set-string", name+"="+value) }
	if len(i.Images) > 0 {
		registry, repository, tag := parts(i.Images[0])
		set("image.registry", registry)
		set("image.repository", repository)
		set("image.tag", tag)
	}
	for _, image := range i.Images {
		if image.Name != "runner" {
			set(image.Name+`.podAnnotations.plumbline\.dev/image`, image.Key)
		}
	}
	for _, value := range i.Values {
		args = append(args, "--set-json", value)
	}
	return args
}

// parts of REGISTRY/REPOSITORY/NAME:TAG.
func parts(image images.Image) (registry, repository, tag string) {
	registry, rest, _ := strings.Cut(image.Reference, "/")
	repository, tag, _ = strings.Cut(rest, "/"+image.Name+":")
	return registry, repository, tag
}

func (i installer) kubectl(ctx context.Context, stdin []byte, args ...string) error {
	binary, err := tools.Path(ctx, i.Log, "kubernetes", "kubectl")
	if err != nil {
		return err
	}
	return i.run(ctx, exec.CommandContext(ctx, binary, args...), stdin)
}

func (i installer) helm(ctx context.Context, args ...string) error {
	binary, err := tools.Path(ctx, i.Log, "helm", "")
	if err != nil {
		return err
	}
	return i.run(ctx, exec.CommandContext(ctx, binary, args...), nil)
}

func (i installer) run(ctx context.Context, cmd *exec.Cmd, stdin []byte) error {
	cmd.Env = append(os.Environ(), "KUBECONFIG="+i.Kubeconfig)
	cmd.Stdin = bytes.NewReader(stdin)
	output, err := cmd.CombinedOutput()
	if err != nil {
		return errors.Join(fmt.Errorf("%s %s: %w\n%s", filepath.Base(cmd.Path), cmd.Args[1], err, output), ctx.Err())
	}
	return nil
}
