//go:build e2e

package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/plumbline-dev/plumbline/e2e/kit"
)

// suite is the one installation that all tests share.
var suite *kit.Kit

// side is how many tests run side by side where -parallel says nothing: most of them wait most of the time.
const side = "5"

func TestMain(m *testing.M) {
	flag.Parse()
	if err := defaultParallel(); err != nil {
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

func defaultParallel() error {
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if given {
		return nil
	}
	return flag.Set("test.parallel", side)
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func fail(err error) {
	say("e2e: %v", err)
	os.Exit(1)
}
