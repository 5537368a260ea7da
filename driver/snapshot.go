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
}

// readSnapshot reads the head of a state: Terraform writes serial and outputs before the resources, which may be of any
// size and are not looked at.
func readSnapshot(state []byte) snapshot {
	if len(bytes.TrimSpace(state)) == 0 {
		return snapshot{outputs: map[string]job.Output{}}
	}
	var s snapshot
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
