package testkit

import (
	"flag"
	"fmt"
	"strconv"
)

// SideBySide lets so many of a package's parallel tests run at once where -parallel says nothing: Go's own number is
// that of the CPUs, and tests of real parts wait most of the time. It is for TestMain, and parses the flags.
func SideBySide(tests int) error {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if given {
		return nil
	}
	if err := flag.Set("test.parallel", strconv.Itoa(tests)); err != nil {
		return fmt.Errorf("letting tests run side by side: %w", err)
	}
	return nil
}
