package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/plumbline-dev/plumbline/internal/tools"
)

// endTimeout is how long the supervisor gets to end the components before they are killed.
const endTimeout = 10 * time.Second

// Down ends the cluster of this checkout and removes every trace of it but its logs. Leftovers of a crashed cluster,
// whosever, are removed too; a running one of another checkout is not touched.
func Down(ctx context.Context, options Options) error {
	l, err := here()
	if err != nil {
		return err
	}
	if external() != "" {
		options.log()("leaving the cluster that PLUMBLINE_KUBECONFIG names as it is")
		return os.RemoveAll(l.kubeconfig())
	}
	return remove(ctx, options, func(who owner) error {
		if who.Checkout != l.checkout {
			return elsewhere(who)
		}
		return nil
	})
}

// Evict ends the cluster of this machine, whichever checkout runs it: for machines that are handed from one to another.
func Evict(ctx context.Context, options Options) error {
	return remove(ctx, options, func(owner) error { return nil })
}

// remove ends the cluster that runs, if the caller allows it for its owner, and sweeps.
func remove(ctx context.Context, options Options, allow func(owner) error) error {
	l, err := here()
	if err != nil {
		return err
	}
	unlock, err := lockMachine(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if who, ok := running(ctx); ok {
		if err := allow(who); err != nil {
			return err
		}
		l.checkout = who.Checkout
		options.log()("ending the cluster of %s ...", who.Checkout)
		end(ctx, who)
	}
	return errors.Join(sweep(ctx), removeAccess(l))
}

// end lets the supervisor end the components; what it doesn't manage, the sweep does.
func end(ctx context.Context, who owner) {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	_ = newControl().end(ctx)
	_ = eventually(ctx, func(context.Context) error {
		if syscall.Kill(who.PID, 0) == nil {
			return fmt.Errorf("waiting for process %d", who.PID)
		}
		return nil
	})
}

func removeAccess(l layout) error {
	return errors.Join(
		os.RemoveAll(l.kubeconfig()), os.RemoveAll(l.state("pki")),
		os.RemoveAll(l.state("config")), os.RemoveAll(l.state("bin")))
}

// lockMachine lets one Up or Down go on at a time.
func lockMachine(ctx context.Context) (func(), error) {
	file, err := os.OpenFile(runFolder+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock (are you root?): %w", err)
	}
	err = eventually(ctx, func(context.Context) error {
		return syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("waiting for another up or down: %w", err), file.Close())
	}
	return func() { _ = file.Close() }, nil
}

func (o Options) log() tools.Logf {
	if o.Log == nil {
		return discard
	}
	return o.Log
}
