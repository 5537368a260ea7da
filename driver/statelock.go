package driver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/terraform-exec/tfexec"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// stateLock is a lock in a backend that isn't Plumbline's own, as Terraform tells of it.
type stateLock struct{ id, operation, who, created string }

var lockField = regexp.MustCompile(`\b(ID|Operation|Who|Created):[ \t]+([^\n]+)`)

// parseLock reads the "Lock Info" of an error's text.
func parseLock(text string) (stateLock, bool) {
	_, info, ok := strings.Cut(text, "Lock Info:")
	if !ok {
		return stateLock{}, false
	}
	fields := map[string]string{}
	for _, m := range lockField.FindAllStringSubmatch(info, -1) {
		if fields[m[1]] == "" {
			fields[m[1]] = strings.TrimSpace(strings.Trim(m[2], "│ \t"))
		}
	}
	operation := strings.TrimPrefix(fields["Operation"], "OperationType")
	l := stateLock{fields["ID"], operation, fields["Who"], fields["Created"]}
	return l, l.id != ""
}

func (l stateLock) String() string {
	text := "lock " + l.id
	if l.who != "" {
		text += " of " + l.who
	}
	if l.operation != "" {
		text += " for " + l.operation
	}
	if l.created != "" {
		text += " since " + l.created
	}
	return text
}

// ofSession are backends whose locks end with the session that holds them. They show the lock that was asked for in
// place of the one that is held.
var ofSession = map[string]bool{"pg": true}

// aboutState completes a failure's message, of which Terraform said the text, as far as it is about the state: what its
// http backend was answered Terraform doesn't say, and about locks it says too much and not how to release them.
func (r *run) aboutState(f *failure, text string) string {
	message := f.message
	lock, found := parseLock(text)
	kind := r.presentType()
	switch {
	case found && ofSession[kind]:
		message = "the state is locked by another session of the backend " + kind + ", and free when that has ended"
	case found && kind != "":
		message = fmt.Sprintf("the state is locked: %s; once nobody works on it any more, release it by the annotation "+
			"%s: %s of the Workspace", lock, job.UnlockAnnotation, lock.id)
	}
	if r.failing != "" {
		message = r.failing + ": " + message
	}
	if r.proxy != nil && (f.class == job.StateLocked || f.class == job.StateUnavailable) {
		message += r.proxy.lastTrouble()
		f.class = cmp.Or(r.proxy.lastClass(), f.class)
	}
	return message
}

// presentType is the type of the backend that was entered last; empty for Plumbline's own.
func (r *run) presentType() string {
	switch {
	case r.Params.Place.Move && r.failing == r.former().name && r.Params.Place.From != nil:
		return r.Params.Place.From.Type
	case r.foreign() && r.failing != r.own().name:
		return r.spec.Backend.Type
	}
	return ""
}

// probe finds out which lock is on the state, if any: it asks for one itself, to taint what doesn't exist.
func (r *run) probe(ctx context.Context) (stateLock, bool, error) {
	defer func() { r.stderr = &tail{out: r.log} }() // what it says is no failure of a step
	err := r.states.Taint(ctx, "terraform_data.plumbline_asks_for_the_lock", tfexec.AllowMissing(true))
	if err == nil {
		return stateLock{}, false, nil
	}
	if lock, ok := parseLock(err.Error()); ok {
		return lock, true, nil
	}
	return stateLock{}, false, err
}

// forceUnlock releases the very lock that a person has named, and no other: not every backend compares the IDs itself.
func (r *run) forceUnlock(ctx context.Context) error {
	id := r.Params.ForceUnlock
	if id == "" {
		return nil
	}
	lock, held, err := r.probe(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("looking for lock %s: %w", id, err)
	case !held:
		r.log.printf("== lock %s is not held any more: nothing to release", id)
		return nil
	case lock.id != id:
		r.log.printf("== %s was to be released, and the state has %s: it is left", id, lock)
		return nil
	}
	if err := r.states.ForceUnlock(ctx, id); err != nil {
		return fmt.Errorf("releasing lock %s: %w", id, err)
	}
	r.log.printf("== released by request: %s", lock)
	return nil
}

// releaseLeft releases the lock that a Terraform of this very Run has left in a backend that isn't Plumbline's own:
// when it was killed, or could not save its state.
func (r *run) releaseLeft(ctx context.Context) {
	if state, _ := r.leftState(); state == nil && !r.left {
		return
	}
	r.left = false
	if err := r.releaseOwn(ctx); err != nil {
		r.log.printf("Looking for a lock that was left failed: %v", err)
	}
}

// releaseOwn releases a lock if it is certainly this Run's own: taken on this machine, whose name no other Pod has,
// since the Run began, and still the same when asked again. (A backend that shows the lock which was asked for, in
// place of the one that is held, shows another one each time.)
func (r *run) releaseOwn(ctx context.Context) error {
	first, held, err := r.probe(ctx)
	if err != nil || !held {
		return err
	}
	second, held, err := r.probe(ctx)
	if err != nil || !held {
		return err
	}
	if first.id != second.id || !r.ownLock(second) {
		r.log.printf("The state has %s: it is left", second)
		return nil
	}
	if err := r.states.ForceUnlock(ctx, second.id); err != nil {
		return err
	}
	r.log.printf("Released what a killed Terraform of this Run has left: %s", second)
	return nil
}

func (r *run) ownLock(l stateLock) bool {
	_, host, _ := strings.Cut(l.who, "@")
	own, err := os.Hostname()
	created, badTime := time.Parse("2006-01-02 15:04:05.999999999 -0700 MST", l.created)
	return err == nil && badTime == nil && host == own && !created.Before(r.began)
}

// killed tells whether the engine was ended by a signal that it can't answer.
func killed(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled()
}

// firstLine is an error's, as the engine says it.
func firstLine(err error) string {
	if said := errorsIn(err.Error()); len(said) > 0 {
		return said[0].line()
	}
	line, _, _ := strings.Cut(strings.TrimSpace(err.Error()), "\n")
	return line
}
