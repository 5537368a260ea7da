package main

import (
	"testing"

	"github.com/plumbline-dev/plumbline/runner/aggregation"
	"github.com/plumbline-dev/plumbline/state/people"
)

// What the controller takes away is what the state service registers; they share no package.
func TestTheControllerKnowsTheRegistration(t *testing.T) {
	if aggregation.APIService != people.APIService {
		t.Errorf("the controller looks after %q, the state service registers %q", aggregation.APIService, people.APIService)
	}
}
