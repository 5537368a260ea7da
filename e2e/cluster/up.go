package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/plumbline-dev/plumbline/e2e/cluster/supervise"
	"github.com/plumbline-dev/plumbline/internal/tools"
)

// Up brings the cluster up, or finds the one that this checkout already runs.
func Up(ctx context.Context, options Options) (*Cluster, error) {
	l, err := here()
	if err != nil {
		return nil, err
	}
	if external() != "" {
		return adopt(ctx, l, options.log())
	}
	if err := preflight(ctx, options.log()); err != nil {
		return nil, err
	}
	unlock, err := lockMachine(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	found, err := Find(ctx)
	if errors.Is(err, ErrDown) || err == nil && !exists(completeFile()) {
		return start(ctx, l, options.log())
	}
	if err != nil {
		return nil, err
	}
	options.log()("the cluster of this checkout runs already")
	return found, found.restart(ctx)
}

// restart starts what an interrupted test left stopped, and writes the kubeconfig again: a copy of another cluster's
// may have taken its place meanwhile.
func (c *Cluster) restart(ctx context.Context) error {
	if err := writeAccess(c.layout); err != nil {
		return err
	}
	list, err := c.Status(ctx)
	if err != nil {
		return err
	}
	for _, s := range list {
		if s.State == supervise.Stopped {
			if err := c.StartComponent(ctx, s.Name); err != nil {
				return err
			}
		}
	}
	return waitReady(ctx, c.layout)
}

func start(ctx context.Context, l layout, log tools.Logf) (*Cluster, error) {
	bin, err := tools.Build(ctx, log, toolNames...)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if isLeftover() {
		log("removing what an earlier cluster left ...")
		if err := sweep(ctx); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(removeAccess(l), checkFree(ctx)); err != nil {
		return nil, err
	}
	log("starting Kubernetes ...")
	c := &Cluster{layout: l, bin: bin}
	if err := c.launch(ctx); err != nil {
		log("it did not start; removing it again. The logs stay in %s", l.state("logs"))
		return nil, errors.Join(err, sweep(context.WithoutCancel(ctx)), removeAccess(l))
	}
	log("the cluster is ready after %.1f s", time.Since(began).Seconds())
	return c, nil
}

// launch does in parallel what doesn't wait for each other.
func (c *Cluster) launch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if err := c.layout.makeFolders(); err != nil {
		return err
	}
	both, bothCtx := errgroup.WithContext(ctx)
	both.Go(func() error { return c.prepare(bothCtx) })
	both.Go(func() error { return compile(bothCtx, c.layout, "./e2e/cluster/cmd/cluster", c.layout.supervisor()) })
	if err := both.Wait(); err != nil {
		return err
	}
	if err := detach(c.layout); err != nil {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return c.loadPause(groupCtx) })
	group.Go(func() error {
		if err := waitComponents(groupCtx, "kube-apiserver"); err != nil {
			return err
		}
		return applyManifests(groupCtx, c.layout, c.bin)
	})
	if err := group.Wait(); err != nil {
		return err
	}
	if err := waitReady(ctx, c.layout); err != nil {
		return err
	}
	return writeAll(map[string]string{completeFile(): ""})
}

// prepare writes what the components read at their start, and makes what they expect of the kernel.
func (c *Cluster) prepare(ctx context.Context) error {
	if err := writePKI(c.layout); err != nil {
		return err
	}
	if err := writeConfig(c.layout, c.bin); err != nil {
		return err
	}
	if err := writeBinaries(c.bin); err != nil {
		return err
	}
	if err := makeCgroups(); err != nil {
		return err
	}
	if err := os.Symlink(filepath.Join(c.bin["kubernetes"], "kubectl"), c.layout.kubectl()); err != nil {
		return fmt.Errorf("linking kubectl: %w", err)
	}
	return makeNetwork(ctx)
}

func (c *Cluster) loadPause(ctx context.Context) error {
	tar, err := programImage(ctx, c.layout, pauseImage, "./e2e/cluster/pause")
	if err != nil {
		return err
	}
	if err := waitComponents(ctx, "containerd"); err != nil {
		return err
	}
	return importImages(ctx, c.bin, tar)
}

// detach starts the supervisor in a session of its own: it outlives the terminal and the test that started it.
func detach(l layout) error {
	log, err := os.Create(l.log("supervisor"))
	if err != nil {
		return fmt.Errorf("starting the supervisor: %w", err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(l.supervisor(), "serve")
	cmd.Dir, cmd.Stdout, cmd.Stderr = l.checkout, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the supervisor: %w", err)
	}
	go func() { _ = cmd.Wait() }() // no zombie while a long test goes on
	return nil
}

// waitComponents waits until components serve; with no name, until all do.
func waitComponents(ctx context.Context, names ...string) error {
	return eventually(ctx, func(ctx context.Context) error {
		list, err := newControl().status(ctx)
		if err != nil {
			return err
		}
		for _, s := range list {
			if (len(names) == 0 || slices.Contains(names, s.Name)) && s.State != supervise.Ready {
				return fmt.Errorf("waiting for %s: %s %s (see its log in .cluster/logs)", s.Name, s.State, s.LastExit)
			}
		}
		return nil
	})
}

// waitReady waits for what a user of the cluster needs.
func waitReady(ctx context.Context, l layout) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	c, err := client(l.kubeconfig())
	if err != nil {
		return err
	}
	for _, condition := range []func(context.Context) error{
		func(ctx context.Context) error { return waitComponents(ctx) },
		func(ctx context.Context) error { return nodeIsReady(ctx, c) },
		func(ctx context.Context) error { return defaultAccountExists(ctx, c) },
		answersDNS,
	} {
		if err := eventually(ctx, condition); err != nil {
			return fmt.Errorf("waiting for the cluster: %w", err)
		}
	}
	return nil
}
