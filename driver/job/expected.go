package job

import (
	"encoding/json"
	"fmt"
)

const (
	// ExpectedHeader is that of a request to the state service which says what is expected there, as Expected.String has
	// it. A state that isn't as expected is neither shown nor removed: the answer is 412, and says what to do.
	ExpectedHeader = "Plumbline-Expected-State"
	// StoreHeader is that of the state service's answers which names its store.
	StoreHeader = "Plumbline-Store"
)

// Expected is what is known of a state that a Run left. What is empty isn't known.
type Expected struct {
	Lineage string `json:"lineage,omitempty"`
	// Serial is the lowest that the state can have now.
	Serial int64 `json:"serial,omitempty"`
	// Store is the ID of the state service's store.
	Store string `json:"store,omitempty"`
}

// Anything tells whether there has to be a state.
func (e Expected) Anything() bool { return e != Expected{} }

// String is the form in which it stands in ExpectedHeader; empty for nothing.
func (e Expected) String() string {
	if !e.Anything() {
		return ""
	}
	b, err := json.Marshal(e)
	if err != nil {
		panic(err) // strings and numbers always marshal
	}
	return string(b)
}

// ParseExpected reads what String wrote.
func ParseExpected(s string) (Expected, error) {
	var e Expected
	if s == "" {
		return e, nil
	}
	if err := json.Unmarshal([]byte(s), &e); err != nil {
		return Expected{}, fmt.Errorf("reading %s: %w", ExpectedHeader, err)
	}
	return e, nil
}

// Expected is what is expected where the state lies: in From while it is being moved.
func (p Place) Expected() Expected {
	return Expected{Lineage: p.Lineage, Serial: p.Serial, Store: p.Store}
}
