package job

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
)

// Output is one output value, as `terraform output -json` has it.
type Output struct {
	Sensitive bool            `json:"sensitive"`
	Type      json.RawMessage `json:"type,omitempty"`
	Value     json.RawMessage `json:"value"`
}

// SecretData is the form in which outputs stand in their Secret, under SecretKey of their names: a string as it is,
// anything else as JSON, in one way of the many in which the same value can be written.
func SecretData(outputs map[string]Output) map[string][]byte {
	data := make(map[string][]byte, len(outputs))
	for name, o := range outputs {
		var s string
		if json.Unmarshal(o.Value, &s) == nil && string(o.Value) != "null" {
			data[SecretKey(name)] = []byte(s)
			continue
		}
		data[SecretKey(name)] = plainJSON(o.Value)
	}
	return data
}

// maxKey is how long a Secret's key may be.
const maxKey = 253

// SecretKey is the key under which an output stands in a Secret: its name, but for letters that a key can't have. Each
// byte of their UTF-8 is a dot and two hexadecimal digits, and as no name has a dot in it, no two names have one key.
// A name that is too long ends in a digest.
func SecretKey(output string) string {
	var key strings.Builder
	for _, b := range []byte(output) {
		switch {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', b == '-', b == '_':
			key.WriteByte(b)
		default:
			fmt.Fprintf(&key, ".%02x", b)
		}
	}
	if key.Len() <= maxKey {
		return key.String()
	}
	sum := sha256.Sum256([]byte(output))
	digest := "..." + hex.EncodeToString(sum[:8])
	return key.String()[:maxKey-len(digest)] + digest
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
