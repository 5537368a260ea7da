package job

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// Output is one output value, as `terraform output -json` has it.
type Output struct {
	Sensitive bool            `json:"sensitive"`
	Type      json.RawMessage `json:"type,omitempty"`
	Value     json.RawMessage `json:"value"`
}

// SecretData is the form in which outputs stand in their Secret: a string as it is, anything else as JSON, in one way
// of the many in which the same value can be written.
func SecretData(outputs map[string]Output) map[string][]byte {
	data := make(map[string][]byte, len(outputs))
	for name, o := range outputs {
		var s string
		if json.Unmarshal(o.Value, &s) == nil && string(o.Value) != "null" {
			data[name] = []byte(s)
			continue
		}
		data[name] = plainJSON(o.Value)
	}
	return data
}

// plainJSON is a value as people read it: no space that means nothing, keys in order, no character escaped that needs
// not be. What is no JSON
// stays as it is.
func plainJSON(value json.RawMessage) []byte {
	d := json.NewDecoder(bytes.NewReader(value))
	d.UseNumber() // digits beyond those of a float64 are kept
	var v any
	if err := d.Decode(&v); err != nil || d.More() {
		return value
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return value
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// DigestOutputs is the digest of a Secret's data: equal data, equal digest.
func DigestOutputs(data map[string][]byte) (string, error) {
	b, err := json.Marshal(data) // sorts the keys
	if err != nil {
		return "", fmt.Errorf("digesting outputs: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}
