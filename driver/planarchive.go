package driver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/terraform-exec/tfexec"

	"github.com/plumbline-dev/plumbline/driver/job"
)

const (
	// planArchiveLimit bounds the archiving of a plan: Terraform loads the providers for it once or twice more.
	planArchiveLimit = 3 * time.Minute
	// maxPart is what the state service takes of one part of the archive.
	maxPart = 64 << 20

	// flushLimit is for the rest of the log.
	flushLimit = 8 * time.Second
)

// planReader turns a saved plan into what programs and people read.
type planReader interface {
	PlanJSON(ctx context.Context, path string) ([]byte, error)
	PlanText(ctx context.Context, path string) ([]byte, error)
}

// showEngine is `terraform show`. What it says may be secret and doesn't reach the log.
type showEngine struct{ *tfexec.Terraform }

// PlanJSON is `terraform show -json`, as it is.
func (e showEngine) PlanJSON(ctx context.Context, path string) ([]byte, error) {
	var raw bytes.Buffer
	e.SetStdout(&raw)
	defer e.SetStdout(io.Discard)
	_, err := e.ShowPlanFile(ctx, path)
	return raw.Bytes(), err
}

// PlanText is `terraform show`, in which sensitive values are hidden.
func (e showEngine) PlanText(ctx context.Context, path string) ([]byte, error) {
	e.SetStdout(io.Discard)
	text, err := e.ShowPlanFileRaw(ctx, path)
	return []byte(text), err
}

// planFile is where a Run that only plans saves its plan.
func (r *run) planFile() string { return filepath.Join(r.Paths.Temp, "plumbline.tfplan") }

// archive sends what is left of the log, and the plan. It comes after the report, so that nobody waits for it, and what
// fails in it changes nothing about the Run.
func (r *run) archive(ctx context.Context) {
	r.shipper.hurry()
	if err := r.archivePlan(ctx); err != nil {
		r.log.printf("Archiving the plan failed: %v", err)
	}
	r.engineLog.close() // no engine is started after this
	ctx, cancel := r.afterStop(ctx, flushLimit, byFlush)
	defer cancel()
	if err := r.shipper.close(ctx); err != nil {
		r.log.printf("%v", err)
	}
}

// archivePlan archives a plan that has changes. Of one that has none the log says all there is to say.
func (r *run) archivePlan(ctx context.Context) error {
	if r.result.Class != job.Planned {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, planArchiveLimit)
	defer cancel()
	// The plan itself is Terraform's, which reads it again.
	asItIs := func(content []byte) []byte { return content }
	parts := []struct {
		name string
		read func(context.Context, string) ([]byte, error)
		mask func([]byte) []byte
	}{
		{job.PartPlan, func(_ context.Context, path string) ([]byte, error) { return os.ReadFile(path) }, asItIs},
		{job.PartPlanText, r.plans.PlanText, r.log.secrets.document},
		{job.PartPlanJSON, r.plans.PlanJSON, r.log.secrets.document},
	}
	var errs []error
	for _, p := range parts {
		var content []byte
		err := r.interruptible(ctx, func() (err error) {
			content, err = p.read(ctx, r.planFile())
			return err
		})
		if err == nil {
			err = r.client.putPart(ctx, p.name, p.mask(content))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.name, err))
		}
	}
	return errors.Join(errs...)
}

func (c *stateClient) putPart(ctx context.Context, name string, content []byte) error {
	if len(content) > maxPart {
		return fmt.Errorf("its %d bytes are more than is kept", len(content))
	}
	return c.persist(ctx, request{method: http.MethodPut, path: c.runPath() + "/" + name, body: content}, tryLimit)
}
