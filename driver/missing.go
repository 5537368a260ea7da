package driver

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// A state that isn't what the last Run left ends a Run before anything is planned: an empty one, or an old one, would
// have things made a second time. Where it lies in the state service, that compares, and shows none; in other backends
// the driver does.

// expectedOfOwn is what is expected of the state service; empty where the state lies in another backend.
func expectedOfOwn(p job.Place, b *job.Backend) string {
	own := b == nil
	if p.Move {
		own = p.From == nil
	}
	if !own {
		return ""
	}
	return p.Expected().String()
}

// note learns from an answer which store the service has, and whether it refuses to show a state.
func (c *stateClient) note(store string, a answer) {
	if store != "" {
		c.store.Store(&store)
	}
	if a.status != http.StatusPreconditionFailed {
		return
	}
	var said struct {
		Error  string    `json:"error"`
		Reason job.Class `json:"reason"`
	}
	if json.Unmarshal(a.body, &said) == nil && said.Reason == job.StateMissing {
		c.missing.Store(&said.Error)
	}
}

// stateMissing is the failure of a Run that was shown no state; nil for any other.
func (r *run) stateMissing() *failure {
	if r.client == nil {
		return nil
	}
	if text := r.client.missing.Load(); text != nil {
		return &failure{job.StateMissing, *text}
	}
	return nil
}

// concludeOwn tells of the state what went by.
func (r *run) concludeOwn() {
	seen := r.proxy.seen()
	r.result.StateSerial, r.result.StateLineage = seen.serial, seen.lineage
	if id := r.client.store.Load(); id != nil && seen.lineage != "" {
		r.result.StoreID = *id
	}
}

// unexpected says in what a state in another backend isn't the one that the last Run left; empty when it is.
func unexpected(p job.Place, seen snapshot) string {
	switch {
	case p.Lineage != "" && seen.lineage != p.Lineage:
		return fmt.Sprintf("%s, and the last Run left the state of lineage %s there", seen.describe(), p.Lineage)
	case p.Lineage != "" && seen.serial < p.Serial:
		return fmt.Sprintf("%s, and the last Run left serial %d there: it is older", seen.describe(), p.Serial)
	}
	return ""
}

func missing(format string, args ...any) error {
	return &failure{class: job.StateMissing, message: fmt.Sprintf(format, args...)}
}
