package driver

import (
	"bytes"
	"encoding/json"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// snapshot is what the driver knows of a state. The outputs are nil if they can't be read, as in an encrypted state,
// and empty if there are none.
type snapshot struct {
	serial  int64
	lineage string
	outputs map[string]job.Output
	// checks tells that it has results of check blocks, and so that the configuration had some.
	checks bool
}

// readSnapshot reads the head of a state: Terraform writes serial and outputs before the resources, which may be of any
// size and are not looked at.
func readSnapshot(state []byte) snapshot {
	if len(bytes.TrimSpace(state)) == 0 {
		return snapshot{outputs: map[string]job.Output{}}
	}
	s := snapshot{checks: hasChecks(state)}
	d := json.NewDecoder(bytes.NewReader(state))
	if _, err := d.Token(); err != nil {
		return s
	}
	for d.More() {
		key, err := d.Token()
		if err != nil || !s.read(d, key) {
			break
		}
	}
	return s
}

// read takes the value of one key in and tells whether more is wanted.
func (s *snapshot) read(d *json.Decoder, key json.Token) bool {
	switch key {
	case "serial":
		return d.Decode(&s.serial) == nil
	case "lineage":
		return d.Decode(&s.lineage) == nil
	case "outputs":
		err := d.Decode(&s.outputs)
		return err == nil && s.serial == 0
	default:
		var skipped json.RawMessage
		return d.Decode(&skipped) == nil
	}
}

// checkResults begins the last part of a state. The quotes of a text within it would be escaped.
const checkResults = `"check_results":`

func hasChecks(state []byte) bool {
	at := bytes.LastIndex(state, []byte(checkResults))
	if at < 0 {
		return false
	}
	var results []struct {
		Kind string `json:"object_kind"`
	}
	if json.NewDecoder(bytes.NewReader(state[at+len(checkResults):])).Decode(&results) != nil {
		return false
	}
	for _, result := range results {
		if result.Kind == "check" {
			return true
		}
	}
	return false
}
