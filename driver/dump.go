package driver

import (
	"bytes"
	"encoding/json"
)

// An engine that can save its state neither in the backend nor in a file prints it, in a message of its own that may be
// of any size. Both engines call it so.
const (
	dumpMessage = `"@message":"Emergency state dump"`
	// dumpHead is where that stands: the keys of a message are sorted.
	dumpHead = 256
)

func isDump(line []byte) bool {
	return bytes.HasPrefix(line, []byte("{")) && bytes.Contains(line[:min(len(line), dumpHead)], []byte(dumpMessage))
}

// takeDump keeps the state from the log: it is full of secrets.
func (s *stream) takeDump(line []byte) {
	var m struct {
		State json.RawMessage `json:"state"`
	}
	if err := json.Unmarshal(line, &m); err != nil || !bytes.HasPrefix(m.State, []byte("{")) {
		s.log.line("The engine has printed a state that can't be read: it is not shown")
		return
	}
	s.dumped = m.State
	s.log.line("The engine could not write its state to a file either and has printed it: " +
		"it is taken from there, not shown")
}
