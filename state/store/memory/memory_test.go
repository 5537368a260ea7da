package memory

import (
	"testing"

	"github.com/plumbline-dev/plumbline/state"
	"github.com/plumbline-dev/plumbline/state/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(*testing.T) state.Store { return &Store{} })
}
