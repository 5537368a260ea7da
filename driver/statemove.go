package driver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/terraform-exec/tfexec"
)

// found is a state in one of the two backends that it is moved between.
type found struct {
	snapshot
	text string
	// empty: there is none, or one with nothing in it. Some backends make one the first time that they are asked.
	empty bool
}

var errUnverified = errors.New("it did not arrive as it was sent")

// move brings the state from where it lies to where it is wanted, and never over another one. It can be broken off
// anywhere: what has arrived already isn't moved again.
func (r *run) move(ctx context.Context) error {
	from, to := r.former(), r.wanted()
	there, err := r.look(ctx, from)
	if err != nil {
		return err
	}
	here, err := r.look(ctx, to)
	if err != nil {
		return err
	}
	if err := r.obstacle(there, here); err != nil {
		return err
	}
	if why := needless(there, here); why != "" {
		r.log.printf("== nothing to move from %s to %s: %s", from.name, to.name, why)
		r.seen = here.snapshot
		return nil
	}
	r.log.printf("== moving the state (%s) from %s to %s", there.describe(), from.name, to.name)
	arrived, err := r.send(ctx, there, here)
	if err != nil {
		return r.about(to, fmt.Errorf("moving the state: %w", err))
	}
	r.seen = arrived.snapshot
	r.log.printf("The state is in %s; a copy is left in %s", to.name, from.name)
	return nil
}

// obstacle is why the state can't be moved: it isn't where it should be, or another one is where it is wanted.
func (r *run) obstacle(there, here found) error {
	from, to := r.former(), r.wanted()
	why := unexpected(r.Params.Place, there.snapshot)
	arrived := here.lineage != "" && here.lineage == r.Params.Place.Lineage
	switch {
	case why != "" && !arrived:
		return missing("%s has %s: nothing was done. To go on with what is in %s, set spec.backendChange to Forget",
			from.name, why, to.name)
	case there.empty || here.empty || here.lineage == there.lineage || here.same(there):
		return nil
	}
	return invalid("%s has another state already (%s), and %s has %s: nothing was moved or overwritten", to.name,
		here.describe(), from.name, there.describe())
}

// needless says why there is nothing to move; empty if there is.
func needless(there, here found) string {
	switch {
	case there.empty:
		return "there is no state"
	case here.same(there) || here.lineage == there.lineage && here.serial >= there.serial:
		return "the state (" + here.describe() + ") is there already"
	}
	return ""
}

// look reads the state of one of the two backends.
func (r *run) look(ctx context.Context, p location) (found, error) {
	err := r.enter(ctx, p, tfexec.Reconfigure(true))
	if err == nil {
		err = r.forceUnlock(ctx)
	}
	if err == nil {
		err = r.pushUnsaved(ctx, p)
	}
	if err != nil {
		return found{}, r.about(p, err)
	}
	f, err := r.find(ctx)
	return f, r.about(p, err)
}

func (r *run) find(ctx context.Context) (found, error) {
	s, text, err := r.pull(ctx)
	return found{s, text, emptyState(text)}, err
}

// about says which of the two backends it is that failed.
func (r *run) about(p location, err error) error {
	if err != nil {
		r.failing = p.name
	}
	return err
}

// send gives the state to the present backend and reads it back. Engines give it a new lineage where there was none;
// said again it is the old one, but for in Plumbline's state service, where a lineage doesn't change.
func (r *run) send(ctx context.Context, there, here found) (found, error) {
	path := filepath.Join(r.Paths.Temp, "plumbline-moved.tfstate")
	if err := os.WriteFile(path, []byte(there.text), 0o600); err != nil {
		return found{}, fmt.Errorf("writing it to a file: %w", err)
	}
	defer os.Remove(path) //nolint:errcheck // it goes with the Pod
	push := func(opts ...tfexec.StatePushCmdOption) (arrived found, err error) {
		err = r.interruptible(ctx, func() error { return r.states.StatePush(ctx, path, opts...) })
		if err == nil {
			arrived, err = r.find(ctx)
		}
		return arrived, err
	}
	var opts []tfexec.StatePushCmdOption
	if here.empty && here.lineage != "" {
		opts = append(opts, tfexec.Force(true)) // over what has nothing in it
	}
	arrived, err := push(opts...)
	if err == nil && arrived.lineage != there.lineage && arrived.same(there) && r.foreign() {
		arrived, err = push(tfexec.Force(true))
	}
	if err == nil && !arrived.same(there) {
		err = errUnverified
	}
	return arrived, err
}

// same tells whether the states have the same in them, whatever their numbers are.
func (f found) same(g found) bool {
	a, okA := content(f.text)
	b, okB := content(g.text)
	return okA && okB && bytes.Equal(a, b)
}

// content is a state without what tells one copy of it from another.
func content(text string) ([]byte, bool) {
	var state map[string]json.RawMessage
	if json.Unmarshal([]byte(text), &state) != nil {
		return nil, false
	}
	for _, key := range []string{"serial", "lineage", "terraform_version"} {
		delete(state, key)
	}
	b, err := json.Marshal(state) // compact, its keys sorted
	return b, err == nil
}

// emptyState tells whether there is nothing in a state. What can't be read is not empty.
func emptyState(text string) bool {
	var state struct {
		Resources []json.RawMessage          `json:"resources"`
		Outputs   map[string]json.RawMessage `json:"outputs"`
	}
	if len(bytes.TrimSpace([]byte(text))) == 0 {
		return true
	}
	return json.Unmarshal([]byte(text), &state) == nil && len(state.Resources)+len(state.Outputs) == 0
}
