//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/plumbline-dev/plumbline/e2e/kit"
	"github.com/plumbline-dev/plumbline/internal/testkit"
)

// suite is the one installation that all tests share.
var suite *kit.Kit

// side is how many tests run side by side.
const side = 5

func TestMain(m *testing.M) {
	if err := testkit.SideBySide(side); err != nil {
		fail(err)
	}
	ctx := context.Background()
	var err error
	if suite, err = kit.Start(ctx, say); err != nil {
		fail(err)
	}
	code := m.Run()
	if err := suite.Stop(ctx); err != nil {
		fail(err)
	}
	os.Exit(code)
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func fail(err error) {
	say("e2e: %v", err)
	os.Exit(1)
}
