package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
)

// memoryLimit is the environment variable with the container's memory limit in bytes.
const memoryLimit = "MEMORY_LIMIT"

// obeyMemoryLimit has the garbage collector work harder before the container's limit is reached: without it the heap
// may grow to twice of what is in use. A tenth is for what is no heap.
func obeyMemoryLimit() error {
	value := os.Getenv(memoryLimit)
	if value == "" {
		return nil
	}
	limit, err := strconv.ParseInt(value, 10, 64)
	if err != nil || limit <= 0 {
		return fmt.Errorf("reading %s: %q is no number of bytes", memoryLimit, value)
	}
	debug.SetMemoryLimit(limit / 10 * 9)
	return nil
}
