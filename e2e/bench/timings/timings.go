// Package timings is what the benchmark's bare Pod tells about itself in its termination message. It imports only the
// standard library, so that the Pod's program stays small.
package timings

import "time"

// Bare are the moments of one bare Pod, by the clock of its node.
type Bare struct {
	Began time.Time `json:"began"`
	Ended time.Time `json:"ended"`
	Steps []Step    `json:"steps"`
}

// Step is one command.
type Step struct {
	Name string        `json:"name"`
	Took time.Duration `json:"took"`
}
