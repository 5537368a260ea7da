package job

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxResult is the size in bytes that a Result's JSON never exceeds: the kubelet cuts a termination message there.
const MaxResult = 4096

// MaxDrift is how many drifted resources a Result lists; DriftTotal counts them all.
const MaxDrift = 20

// Result is what came of a Run. It holds nothing secret: it is shown in Run.status.
type Result struct {
	Version int    `json:"version"`
	Run     string `json:"run"`
	Class   Class  `json:"class"`
	// Message is for people: for a failure what Terraform said, with file and line when it named them.
	Message string   `json:"message,omitempty"`
	Changes *Changes `json:"changes,omitempty"`
	Steps   []Step   `json:"steps,omitempty"`
	// OutputsDigest is DigestOutputs of what was sent to the state service; empty when outputs were not read.
	OutputsDigest string `json:"outputsDigest,omitempty"`
	StateSerial   int64  `json:"stateSerial,omitempty"`
	// StateLineage tells one state from another in a backend that isn't Plumbline's own.
	StateLineage string `json:"stateLineage,omitempty"`
	// Drift are the differences that the plan found between the state and reality; DriftTotal how many there are.
	Drift      []Drift `json:"drift,omitempty"`
	DriftTotal int     `json:"driftTotal,omitempty"`
}

// Changes counts what a plan changes or an apply changed.
type Changes struct {
	Add     int `json:"add"`
	Change  int `json:"change"`
	Destroy int `json:"destroy"`
	Import  int `json:"import,omitempty"`
}

// Any tells whether something changes.
func (c Changes) Any() bool { return c.Add+c.Change+c.Destroy+c.Import > 0 }

// Step is one step of the driver.
type Step struct {
	Name     string        `json:"name"`
	Attempts int           `json:"attempts"`
	Duration time.Duration `json:"duration"`
	// Class is empty for a step that ended well.
	Class Class `json:"class,omitempty"`
}

// Drift is one resource that differs.
type Drift struct {
	Address string   `json:"address"`
	Actions []string `json:"actions"`
}

// ErrTooLarge is returned when a Result can't be made to fit.
var ErrTooLarge = errors.New("result is over the size of a termination message")

// Encode makes the Result fit MaxResult: it drops listed drift from the end, then cuts the message, and never drops
// the class.
func Encode(r Result) ([]byte, error) {
	r.Version = Version
	r.Message = strings.ToValidUTF8(r.Message, "?")
	r.Drift = r.Drift[:min(len(r.Drift), MaxDrift)]
	for {
		b, err := json.Marshal(r)
		if err != nil {
			return nil, fmt.Errorf("encoding result: %w", err)
		}
		over := len(b) - MaxResult
		switch {
		case over <= 0:
			return b, nil
		case len(r.Message) > 1100:
			r.Message = cut(r.Message, max(1024, len(r.Message)-over-len(ellipsis)))
		case len(r.Drift) > 0:
			r.Drift = r.Drift[:len(r.Drift)-1]
		case len(r.Message) > 0:
			r.Message = cut(r.Message, len(r.Message)/2)
		default:
			return nil, ErrTooLarge
		}
	}
}

// Write leaves the Result at path, as Parse reads it.
func Write(path string, r Result) error {
	b, err := Encode(r)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return fmt.Errorf("writing result: %w", err)
	}
	return nil
}

// Parse reads a Result from a termination message or a report.
func Parse(s string) (Result, error) {
	var r Result
	if err := json.Unmarshal([]byte(s), &r); err != nil {
		return Result{}, fmt.Errorf("parsing result: %w", err)
	}
	if !r.Class.valid() {
		// Anything in the Pod can write there, and a class becomes a condition's reason.
		return Result{}, errors.New("parsing result: it has no class, or one that is no word")
	}
	return r, nil
}

const ellipsis = " ..."

// cut shortens s to n bytes at a character's border. Escaping can make the JSON longer than the string, so Encode
// measures again after each cut.
func cut(s string, n int) string {
	n = max(0, min(n, len(s)-1))
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	if n == 0 {
		return ""
	}
	if n > len(ellipsis) && len(s) > n {
		return s[:n] + ellipsis
	}
	return s[:n]
}
