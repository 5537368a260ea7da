package server

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
)

// Report implements Reports: it puts the Result into Run.status.reported, where the controller's watch sees it at
// once. A Run reports once; the same again is fine at any time, because the first answer may have been lost.
func (c *Cluster) Report(ctx context.Context, id Identity, result []byte) error {
	run, err := c.run(ctx, id)
	if err != nil {
		return err
	}
	switch reported := run.Status.Reported; {
	case reported != nil && sameJSON(reported.Raw, result):
		return nil
	case finished(run):
		return errOver(id.Run)
	case reported != nil:
		return ErrReported
	}
	return c.patchReported(ctx, run, result)
}

func (c *Cluster) patchReported(ctx context.Context, run *v1alpha1.Run, result []byte) error {
	// The UID makes sure that a Run that was made anew under the same name meanwhile is left alone.
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": run.UID},
		"status":   map[string]any{"reported": json.RawMessage(result)},
	})
	if err != nil {
		return fmt.Errorf("encoding the report: %w", err)
	}
	if err := c.client.Status().Patch(ctx, run, client.RawPatch("application/merge-patch+json", patch)); err != nil {
		return fmt.Errorf("reporting the result of run %s/%s: %w", run.Namespace, run.Name, err)
	}
	return nil
}

func sameJSON(a, b []byte) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}
