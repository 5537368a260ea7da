package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
)

const batchTimeout = 20 * time.Minute

// crowd is what so many at once took.
type crowd struct {
	makespan time.Duration
	// cpu is what the whole machine worked meanwhile, for each; zero when the cluster is on other machines.
	cpu float64
}

// batches takes many at once, by turns.
func (b *bench) batches(ctx context.Context, r *report) error {
	var bare, ours []crowd
	for i := range b.rounds {
		if b.batch == 0 {
			break
		}
		one, err := b.pods(ctx, i)
		if err != nil {
			return err
		}
		b.say("%d bare Pods at once: %.1f s, %.2f CPU s each", b.batch, one.makespan.Seconds(), one.cpu)
		two, err := b.workspaces(ctx, i)
		if err != nil {
			return err
		}
		b.say("%d Workspaces at once: %.1f s, %.2f CPU s each", b.batch, two.makespan.Seconds(), two.cpu)
		bare, ours = append(bare, one), append(ours, two)
	}
	r.batches(b.batch, bare, ours)
	return nil
}

func (b *bench) pods(ctx context.Context, round int) (crowd, error) {
	names := b.names("crowd-bare", round)
	c, err := b.crowd(ctx, names, func(ctx context.Context, name string) error {
		_, err := b.bare(ctx, name)
		return err
	})
	if err != nil {
		return crowd{}, err
	}
	return c, b.clear(ctx, nil, names)
}

func (b *bench) workspaces(ctx context.Context, round int) (crowd, error) {
	names := b.names("crowd-ours", round)
	c, err := b.crowd(ctx, names, func(ctx context.Context, name string) error {
		_, err := b.fresh(ctx, name)
		return err
	})
	if err != nil {
		return crowd{}, err
	}
	return c, b.clear(ctx, names, nil)
}

func (b *bench) names(base string, round int) []string {
	names := make([]string, b.batch)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%d-%d", base, round, i)
	}
	return names
}

// crowd starts all at once and waits for the last.
func (b *bench) crowd(ctx context.Context, names []string, one func(context.Context, string) error) (crowd, error) {
	ctx, cancel := context.WithTimeout(ctx, batchTimeout)
	defer cancel()
	before, err := cpuSeconds()
	if err != nil {
		return crowd{}, err
	}
	began := time.Now()
	group, groupCtx := errgroup.WithContext(ctx)
	for _, name := range names {
		group.Go(func() error { return one(groupCtx, name) })
	}
	if err := group.Wait(); err != nil {
		return crowd{}, err
	}
	c := crowd{makespan: time.Since(began)}
	after, err := cpuSeconds()
	if os.Getenv("PLUMBLINE_KUBECONFIG") == "" {
		c.cpu = (after - before) / float64(len(names))
	}
	return c, err
}
