package main

import (
	"runtime/debug"
	"testing"
)

func TestTheHeapStaysBelowTheContainersLimit(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	t.Setenv(memoryLimit, "1073741824")
	if err := obeyMemoryLimit(); err != nil {
		t.Fatal(err)
	}
	if got := debug.SetMemoryLimit(-1); got != 1073741824/10*9 {
		t.Errorf("the limit is %d, want nine tenths of 1 GiB", got)
	}
	for _, wrong := range []string{"1Gi", "-1", "0"} {
		t.Setenv(memoryLimit, wrong)
		if err := obeyMemoryLimit(); err == nil {
			t.Errorf("%q is taken for a number of bytes", wrong)
		}
	}
}
