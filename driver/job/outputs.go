package job

import (
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

// SecretData is the form in which outputs stand in their Secret: a string as it is, anything else as JSON.
func SecretData(outputs map[string]Output) map[string][]byte {
	data := make(map[string][]byte, len(outputs))
	for name, o := range outputs {
		var s string
		if json.Unmarshal(o.Value, &s) == nil && string(o.Value) != "null" {
			data[name] = []byte(s)
			continue
		}
		data[name] = o.Value
	}
	return data
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
