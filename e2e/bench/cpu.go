package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// ticksPerSecond is USER_HZ, which is 100 on every architecture that Go knows.
const ticksPerSecond = 100

// cpuSeconds is what the whole machine has worked since it started.
func cpuSeconds() (float64, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, fmt.Errorf("reading the machine's CPU time: %w", err)
	}
	return busySeconds(string(b))
}

// busySeconds adds up the columns of /proc/stat's first line that are work: user, nice, system, irq and softirq. Guests
// are part of user already; idle, iowait and steal are no work of this machine.
func busySeconds(stat string) (float64, error) {
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	if len(fields) < 8 || fields[0] != "cpu" {
		return 0, fmt.Errorf("reading the machine's CPU time: unexpected %q", line)
	}
	var ticks float64
	for _, column := range []int{1, 2, 3, 6, 7} {
		n, err := strconv.ParseFloat(fields[column], 64)
		if err != nil {
			return 0, fmt.Errorf("reading the machine's CPU time: %w", err)
		}
		ticks += n
	}
	return ticks / ticksPerSecond, nil
}
