package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/plumbline-dev/plumbline/e2e/stage"
	"github.com/plumbline-dev/plumbline/e2e/vaultserver"
)

const (
	namespace = "plumbline-demo"
	name      = "cafe"

	// soon is for what should follow at once, though machines may be slow; onSchedule includes a tick or two.
	soon       = 2 * time.Minute
	onSchedule = 3 * time.Minute
	// cleanup is for what is left to be done when the demo was interrupted.
	cleanup = 4 * time.Minute
)

// ErrFailed says that something promised was not observed.
var ErrFailed = errors.New("not everything was observed")

// step is one thing that happens and what is seen of it.
type step struct {
	title string
	// why is what a spectator should know.
	why string
	do  func(*demo, context.Context) (observed string, err error)
}

// steps tell the story in order.
var steps = []step{
	{
		"A cluster with Plumbline in it",
		"Kubernetes, the images and the chart: built here where they are not built yet.",
		(*demo).setStage,
	},
	{
		"Rights for Terraform",
		"A namespace under PodSecurity \"restricted\", and a ServiceAccount that may edit it.",
		(*demo).giveRights,
	},
	{
		"A Vault that lends them",
		"Its kubernetes engine makes tokens of that ServiceAccount: each Run gets one of its own and gives it back.",
		(*demo).lend,
	},
	{
		"A Workspace is applied",
		"Its configuration manages two ConfigMaps through the kubectl provider.",
		(*demo).apply,
	},
	{
		"What it made is there",
		"Two real objects.",
		(*demo).showObjects,
	},
	{
		"Its outputs are in a Secret",
		"One key per output; what is no string is JSON.",
		(*demo).showOutputs,
	},
	{
		"Somebody edits an object by hand",
		"Nobody tells Plumbline. The next tick of the schedule compares reality with the configuration.",
		(*demo).drift,
	},
	{
		"A rerun is asked for",
		"A new value of the annotation is a new Run, at once.",
		(*demo).rerun,
	},
	{
		"The Workspace is deleted",
		"A Run destroys what it made; only then the Workspace goes.",
		(*demo).remove,
	},
	{
		"Every token is back",
		"What Vault lends has a lease; the driver revokes it when its Run ends, whatever the end.",
		(*demo).showLeases,
	},
}

// demo is one performance.
type demo struct {
	screen *screen
	keep   bool
	stage  *stage.Stage
	vault  *vaultserver.Server
	done   []seen
}

// seen is a line of the summary.
type seen struct {
	title, observed string
	took            time.Duration
	failed          bool
}

func (d *demo) run(ctx context.Context) error {
	err := d.play(ctx)
	if err != nil {
		d.explain(context.WithoutCancel(ctx))
	}
	left := d.leave(context.WithoutCancel(ctx))
	d.screen.summary(d.done)
	if err != nil || left != nil {
		return errors.Join(ErrFailed, err, left)
	}
	return nil
}

func (d *demo) play(ctx context.Context) error {
	for i, s := range steps {
		d.screen.title(i+1, s)
		began := time.Now()
		observed, err := s.do(d, ctx)
		took := time.Since(began)
		if err != nil {
			d.done = append(d.done, seen{s.title, err.Error(), took, true})
			d.screen.failed(err, took)
			return fmt.Errorf("%s: %w", s.title, err)
		}
		d.done = append(d.done, seen{s.title, observed, took, false})
		d.screen.observed(observed, took)
	}
	return nil
}

// leave puts everything back, also after a failure or an interrupt.
func (d *demo) leave(ctx context.Context) error {
	if d.stage == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, cleanup)
	defer cancel()
	if d.keep {
		d.screen.say("KEEP=1: the cluster stays. export KUBECONFIG=%s", d.stage.Kubectl.Kubeconfig())
		return errors.Join(d.stage.Leave(ctx, namespace), d.returnVault(ctx))
	}
	began := time.Now()
	d.screen.heading("Leaving everything as it was found")
	var err error
	if d.stage.Found() {
		err = d.stage.Leave(ctx, namespace)
	}
	err = errors.Join(err, d.returnVault(ctx), d.stage.Strike(ctx))
	observed := "the cluster that was there before is as it was"
	if !d.stage.Found() {
		observed = "the cluster that was started is gone"
	}
	if err != nil {
		observed = err.Error()
	}
	d.done = append(d.done, seen{"Everything is left as it was found", observed, time.Since(began), err != nil})
	return err
}
