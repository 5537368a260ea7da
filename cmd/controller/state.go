package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/runner/run"
	"github.com/plumbline-dev/plumbline/runner/workspace"
	"github.com/plumbline-dev/plumbline/state/client"
)

// stateService gives the controller its words for what the state service's client says.
type stateService struct{ *client.Client }

func newStateService(f flags) stateService {
	return stateService{client.New(client.Options{URL: f.stateURL, CAFile: f.stateCA, TokenFile: f.tokenFile})}
}

// Outputs of a Workspace that has stored none are empty.
func (s stateService) Outputs(ctx context.Context, namespace, workspace string) (map[string]job.Output, error) {
	outputs, err := s.Client.Outputs(ctx, namespace, workspace)
	if errors.Is(err, client.ErrNotFound) {
		return nil, nil
	}
	return outputs, err
}

// Forget takes a state that is in use for an answer, not for an error.
func (s stateService) Forget(ctx context.Context, f workspace.Forgotten) (bool, error) {
	err := s.DeleteWorkspace(ctx, client.Removal{Workspace: named(f.Workspace), Want: f.Want, Destroyed: f.Destroyed})
	if errors.Is(err, client.ErrInUse) {
		return false, nil
	}
	if missing, ok := errors.AsType[*client.MissingError](err); ok {
		return false, &workspace.MissingError{Text: missing.Text}
	}
	return err == nil, err
}

// Adopt tells a refusal from what may pass.
func (s stateService) Adopt(ctx context.Context, w *v1alpha1.Workspace, from string) error {
	err := s.Client.Adopt(ctx, named(w), from)
	if refused, ok := errors.AsType[*client.RefusedError](err); ok {
		return &workspace.RefusedError{Text: refused.Text}
	}
	return err
}

func named(w *v1alpha1.Workspace) client.Workspace {
	return client.Workspace{Namespace: w.Namespace, Name: w.Name, UID: string(w.UID)}
}

// ReleaseLock takes a lock that is held for an answer, not for an error.
func (s stateService) ReleaseLock(ctx context.Context, w *v1alpha1.Workspace) (run.Lock, error) {
	from, err := s.Client.ReleaseLock(ctx, w.Namespace, w.Name)
	if held, ok := errors.AsType[*client.HeldError](err); ok {
		return run.Lock{Run: held.Holder.Run, Pod: held.Holder.Pod, Kept: held.Text}, nil
	}
	if err != nil || from == nil {
		return run.Lock{}, err
	}
	return run.Lock{Run: from.Run, Pod: from.Pod}, nil
}

// Accessors of a Run that has noted none are none.
func (s stateService) Accessors(ctx context.Context, w *v1alpha1.Workspace, run *v1alpha1.Run) ([]string, error) {
	accessors, err := s.Client.Accessors(ctx, client.Workspace{Namespace: w.Namespace, Name: w.Name},
		client.Run{Name: run.Name, UID: string(run.UID)})
	if errors.Is(err, client.ErrNotFound) {
		return nil, nil
	}
	return accessors, err
}

// location is what runner Pods are told of the service. The CA is read anew each time, for it may be replaced.
func (s stateService) location() (job.State, error) {
	ca, err := os.ReadFile(s.CAFile)
	if err != nil {
		return job.State{}, fmt.Errorf("reading the state service's CA: %w", err)
	}
	return job.State{URL: s.URL, CA: string(ca)}, nil
}
