package driver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-exec/tfexec"

	"github.com/plumbline-dev/plumbline/driver/classify"
	"github.com/plumbline-dev/plumbline/driver/job"
)

// What core says of an import. Both engines say it so.
const (
	importOfNothing = "Cannot import non-existent remote object"
	importedAlready = "Resource already managed by"
)

// Import is `terraform import`.
func (e engine) Import(ctx context.Context, address, id string, opts ...tfexec.ImportOption) error {
	return e.silently(func() error { return e.Terraform.Import(ctx, address, id, opts...) })
}

// StateMv is `terraform state mv`.
func (e engine) StateMv(ctx context.Context, from, to string, opts ...tfexec.StateMvCmdOption) error {
	return e.silently(func() error { return e.Terraform.StateMv(ctx, from, to, opts...) })
}

// owed is what this Run and those before it have made and stands in no state, as far as the journal knows.
func (r *run) owed() []item {
	owed := r.journal.content()
	for _, run := range slices.Sorted(maps.Keys(r.storing.made)) {
		owed = append(owed, r.storing.made[run]...)
	}
	known := map[string]bool{}
	return slices.DeleteFunc(owed, func(i item) bool { // a Run that was killed here has noted it under its own name too
		id := i.key() + i.IDKey + "=" + i.IDValue
		defer func() { known[id] = true }()
		return known[id]
	})
}

// takeOver brings into the state what was made and stands in none: it would be made again otherwise. What can't be
// brought there holds the Workspace, since only a person can tell what becomes of it.
func (r *run) takeOver(ctx context.Context) error {
	owed := r.owed()
	if len(owed) == 0 {
		return nil
	}
	_, state, err := r.pull(ctx)
	if err != nil {
		return err
	}
	index := indexState([]byte(state))
	missing := slices.DeleteFunc(owed, index.covers)
	if len(missing) > 0 {
		r.log.printf("== taking over what was made and stands in no state: %s", list(missing))
	}
	var left []item
	var why error
	for _, i := range missing {
		err := r.takeOne(ctx, i, index)
		if ctx.Err() != nil {
			return ctx.Err() // the journal stays as it is
		}
		if class := passing(err); class != "" {
			return &failure{class, fmt.Sprintf("taking over %s: %s", i, firstLine(err))} // and here
		}
		if err != nil {
			r.log.printf("%s can't be taken over: %s", i, firstLine(err))
			left, why = append(left, i), err
		}
	}
	if err := r.noteLeft(ctx, left); err != nil {
		return err
	}
	if len(left) == 0 {
		return nil
	}
	return &failure{job.StateUnsaved, fmt.Sprintf("%d resources were made and stand in no state, and can't be taken over "+
		"(%s): nothing was planned, for they would be made again. %s. See plumbline state unsaved",
		len(left), firstLine(why), commands(left))}
}

// passing is the class of a failure that has nothing to do with the thing itself; empty for others. It goes by, or has
// a remedy of its own.
func passing(err error) job.Class {
	if err == nil {
		return ""
	}
	class := judge(errorsIn(err.Error())).class
	if classify.Retryable(class) || class.Policy() == job.Persist {
		return class
	}
	return ""
}

// takeOne imports a thing. What it was to replace leaves its place, and goes as whatever has no configuration does.
func (r *run) takeOne(ctx context.Context, i item, index stateIndex) error {
	if i.IDKey == "" {
		return fmt.Errorf("the engine did not tell its ID")
	}
	if index.occupied(i) {
		to := i.replaced()
		r.log.printf("What %s was to replace is %s from now on", i, to)
		err := r.interruptible(ctx, func() error { return r.states.StateMv(ctx, i.Addr, to) })
		if err != nil {
			return err
		}
	}
	var opts []tfexec.ImportOption
	for _, f := range r.varFiles() {
		opts = append(opts, f)
	}
	err := r.interruptible(ctx, func() error { return r.states.Import(ctx, i.Addr, i.IDValue, opts...) })
	switch {
	case err == nil:
		r.log.printf("Taken over: %s", i)
	case strings.Contains(err.Error(), importOfNothing):
		r.log.printf("%s is not there any more", i)
		return nil
	case strings.Contains(err.Error(), importedAlready) && index == nil && !i.Replaces:
		return nil // it stands in a state that can't be read here; were it a replacement, that may be what it replaces
	}
	return err
}

// noteLeft leaves in the journal what could not be taken over, under this Run's name, and takes the rest out.
func (r *run) noteLeft(ctx context.Context, left []item) error {
	if _, own := r.storing.made[r.Params.Run]; own {
		r.journal.expect()
	}
	err := r.journal.settle(ctx, left)
	for _, run := range slices.Sorted(maps.Keys(r.storing.made)) {
		if err == nil && run != r.Params.Run {
			err = r.client.dropMade(ctx, run)
		}
	}
	if err != nil {
		return &failure{job.StateUnavailable, fmt.Sprintf("noting what was taken over: %v", err)}
	}
	r.storing.made = nil
	return nil
}

// replaced is an address without configuration, beside the thing's own.
func (i item) replaced() string {
	sum := sha256.Sum256([]byte(i.Addr + " " + i.IDValue))
	to := fmt.Sprintf("%s.%s_replaced_%s", i.Type, i.Name, hex.EncodeToString(sum[:4]))
	if i.Module != "" {
		to = i.Module + "." + to
	}
	return to
}

// commands are what a person would do.
func commands(items []item) string {
	var all []string
	for _, i := range items[:min(len(items), maxListed)] {
		all = append(all, fmt.Sprintf("terraform import '%s' '%s'", i.Addr, i.IDValue))
	}
	return "By hand it would be: " + strings.Join(all, "; ")
}
