package driver

import (
	"context"
	"fmt"
	"time"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// reportLimit ends the report over the wire: the kubelet reads the termination message only once this process is gone.
const reportLimit = 8 * time.Second

// report tells the Result by both ways: the state service, which is quick, and the termination message, which needs no
// network. One that fails doesn't keep the other.
func (r *run) report(ctx context.Context) error {
	if err := r.writeMessage(); err != nil {
		r.log.printf("Leaving the termination message failed: %v", err)
	}
	if r.client == nil {
		return nil
	}
	b, err := job.Encode(r.result)
	if err != nil {
		return err
	}
	ctx, cancel := r.afterStop(ctx, reportLimit, byReport)
	defer cancel()
	if err := r.client.putResult(ctx, b); err != nil {
		return fmt.Errorf("telling the state service: %w", err)
	}
	return nil
}
