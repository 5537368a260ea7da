package main

import (
	"context"
	"time"
)

const explainTimeout = 30 * time.Second

// explain shows what a person would look at after a failure. It is all that is known by then: errors are shown too.
func (d *demo) explain(ctx context.Context) {
	if d.stage == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, explainTimeout)
	defer cancel()
	for _, args := range [][]string{
		{"get", "workspaces,runs,pods", "-n", namespace, "-o", "wide"},
		{"get", "events", "-n", namespace, "--sort-by=.lastTimestamp"},
		{"logs", "-n", namespace, "-l", "app.kubernetes.io/component=runner", "--tail=20", "--prefix"},
		{"logs", "-n", "plumbline-system", "-l", "app.kubernetes.io/component=controller", "--tail=20"},
		{"logs", "-n", "plumbline-system", "-l", "app.kubernetes.io/component=state", "--tail=20"},
	} {
		if _, err := d.kubectl(ctx, args...); err != nil {
			d.screen.say("%v", err)
		}
	}
}
