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

// MaxWarnings is how many warnings, and how many failed checks, a Result lists.
const MaxWarnings = 5

// keptDrift is how much of the listed drift is kept when there are warnings to be listed too.
const keptDrift = 5

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
	// StateLineage tells one state from another, and StoreID one store of the state service from another; empty for a
	// backend that isn't Plumbline's own.
	StateLineage string `json:"stateLineage,omitempty"`
	StoreID      string `json:"storeID,omitempty"`
	// Drift are the differences that the plan found between the state and reality; DriftTotal how many there are.
	Drift      []Drift `json:"drift,omitempty"`
	DriftTotal int     `json:"driftTotal,omitempty"`
	// Warnings are what the engine warned of, failing checks included; nil for none.
	Warnings *Warnings `json:"warnings,omitempty"`
	// Checks is what became of the configuration's check blocks; nil when none are known of.
	Checks *Checks `json:"checks,omitempty"`
}

// Changes counts what a plan changes or an apply changed.
type Changes struct {
	Add     int `json:"add"`
	Change  int `json:"change"`
	Destroy int `json:"destroy"`
	Import  int `json:"import,omitempty"`
	// Forget counts what leaves the state and stays in reality, as a removed block asks for.
	Forget int `json:"forget,omitempty"`
}

// Any tells whether something changes.
func (c Changes) Any() bool { return c.Add+c.Change+c.Destroy+c.Import+c.Forget > 0 }

// Warnings counts them and has the first few, at most MaxWarnings, in a line each.
type Warnings struct {
	Total int      `json:"total"`
	First []string `json:"first,omitempty"`
}

// Checks says how many check blocks and their assertions failed, and of the first MaxWarnings which, in a line each.
type Checks struct {
	Failed   int      `json:"failed"`
	Messages []string `json:"messages,omitempty"`
}

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

// Encode makes the Result fit MaxResult: it drops listed drift and warnings from the end, then cuts the message, and
// never drops the class or a count.
func Encode(r Result) ([]byte, error) {
	r.Version = Version
	r.Message = strings.ToValidUTF8(r.Message, "?")
	r.Drift = r.Drift[:min(len(r.Drift), MaxDrift)]
	r.bounded()
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
		case len(r.Drift) > keptDrift:
			r.Drift = r.Drift[:len(r.Drift)-1]
		case r.dropLine():
		case len(r.Drift) > 0:
			r.Drift = r.Drift[:len(r.Drift)-1]
		case len(r.Message) > 0:
			r.Message = cut(r.Message, len(r.Message)/2)
		default:
			return nil, ErrTooLarge
		}
	}
}

// bounded copies what dropLine shortens, each list within MaxWarnings.
func (r *Result) bounded() {
	if w := r.Warnings; w != nil {
		r.Warnings = &Warnings{w.Total, w.First[:min(len(w.First), MaxWarnings)]}
	}
	if c := r.Checks; c != nil {
		r.Checks = &Checks{c.Failed, c.Messages[:min(len(c.Messages), MaxWarnings)]}
	}
}

// dropLine drops the last listed warning, or else the last listed check, and tells whether there was one.
func (r *Result) dropLine() bool {
	switch {
	case r.Warnings != nil && len(r.Warnings.First) > 0:
		r.Warnings.First = r.Warnings.First[:len(r.Warnings.First)-1]
	case r.Checks != nil && len(r.Checks.Messages) > 0:
		r.Checks.Messages = r.Checks.Messages[:len(r.Checks.Messages)-1]
	default:
		return false
	}
	return true
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
