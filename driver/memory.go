package driver

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// memoryTick is how often the container's memory is looked at while an engine runs.
	memoryTick = 100 * time.Millisecond
	// gcShare is the part of the container's memory at which each Go process in it begins to save on memory.
	gcShare = 0.8
	// memoryHint says what to do about too little of it.
	memoryHint = "raise spec.podTemplate.resources.limits.memory"
)

// memory is the container's memory as its cgroup has it. Where the kernel is told to end the whole container for want
// of memory (memory.oom.group, which the kubelet sets on cgroup v2 unless singleProcessOOMKill is true), the driver
// would go with the provider, and the state with it. So the driver is faster: near the limit it kills the largest
// provider, which Terraform takes for a failed plugin, and saves its state.
type memory struct {
	root string

	mu sync.Mutex
	// killed are the providers that the driver has killed, with their sizes; largest was the largest process near the
	// limit.
	killed  []string
	largest string
	// rest is how many looks are left out, for what a killed process had to come back. The guard alone uses it.
	rest int
}

// looksAfterKill is a second's worth of looks.
const looksAfterKill = int(time.Second / memoryTick)

// number reads the first of the files that is there, those of cgroup v2 before those of v1; 0 for none, and for no
// limit.
func (m *memory) number(files ...string) int64 {
	for _, file := range files {
		b, err := os.ReadFile(filepath.Join(m.root, file))
		if err != nil {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
		if err != nil || n > 1<<60 { // "max", or what v1 has for it
			return 0
		}
		return n
	}
	return 0
}

func (m *memory) limit() int64 { return m.number("memory.max", "memory/memory.limit_in_bytes") }
func (m *memory) peak() int64  { return m.number("memory.peak", "memory/memory.max_usage_in_bytes") }

// used is what the kernel can't take back: the cache of files is no part of it, but for what lies in memory alone.
func (m *memory) used() int64 {
	used := m.number("memory.current", "memory/memory.usage_in_bytes")
	b, _ := os.ReadFile(filepath.Join(m.root, "memory.stat"))
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, _ := strconv.ParseInt(value, 10, 64) // the kernel's own number
		switch name {
		case "file":
			used -= n
		case "shmem":
			used += n
		}
	}
	return used
}

// margin is how near to the limit is too near: a provider may take as much between two looks.
func margin(limit int64) int64 { return min(max(limit/32, 24<<20), limit/8) }

// goLimit is the soft limit of each Go process; empty for none. A process near it collects its garbage sooner.
func (m *memory) goLimit() string {
	limit := m.number("memory.max")
	if limit == 0 {
		return ""
	}
	return strconv.FormatInt(int64(float64(limit)*gcShare), 10)
}

// guard looks after the memory until the engine is out.
func (m *memory) guard(out <-chan struct{}, log *logWriter) {
	limit := m.limit()
	if limit == 0 {
		return
	}
	ticker := time.NewTicker(memoryTick)
	defer ticker.Stop()
	for {
		select {
		case <-out:
			return
		case <-ticker.C:
			m.look(limit, log)
		}
	}
}

func (m *memory) look(limit int64, log *logWriter) {
	if m.rest > 0 {
		m.rest--
		return
	}
	near := limit - margin(limit)
	if m.number("memory.current", "memory/memory.usage_in_bytes") < near || m.used() < near {
		return
	}
	p, size := largest(providers(processes(), os.Getpid()))
	if p.pid == 0 {
		return
	}
	name := fmt.Sprintf("%s with %s", p.name, inMiB(size))
	m.mu.Lock()
	defer m.mu.Unlock()
	m.largest = name
	// Where the kernel kills single processes it knows best which, and not before it has to.
	if m.number("memory.oom.group") == 0 || syscall.Kill(p.pid, syscall.SIGKILL) != nil {
		return
	}
	m.killed, m.rest = append(m.killed, name), looksAfterKill
	log.printf("== the container's memory of %s is nearly used up: the largest provider is killed (%s), so that "+
		"Terraform can save its state", inMiB(limit), name)
}

// largest is the process with the most memory of its own.
func largest(all []process) (p process, size int64) {
	for _, candidate := range all {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", candidate.pid))
		fields := strings.Fields(string(b))
		if err != nil || len(fields) < 2 {
			continue // it has ended
		}
		pages, _ := strconv.ParseInt(fields[1], 10, 64) // the kernel's own number
		if own := pages * int64(os.Getpagesize()); own > size || p.pid == 0 {
			p, size = candidate, own
		}
	}
	return p, size
}

// kills are those of the driver's own.
func (m *memory) kills() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.killed)
}

// message says who was killed, how much there was, and what to do.
func (m *memory) message(what string, engine bool) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	who := "a process of the runner's container was killed"
	switch {
	case len(m.killed) > 0:
		who = strings.Join(m.killed, ", ") + " was killed"
	case engine:
		who = "Terraform was killed"
	case m.largest != "":
		who += " (the largest was " + m.largest + ")"
	}
	text := "out of memory: " + who
	if limit := m.limit(); limit > 0 {
		text += ", the container's limit is " + inMiB(limit)
	}
	if peak := m.peak(); peak > 0 {
		text += ", its peak was " + inMiB(peak)
	}
	return fmt.Sprintf("%s: %s (%s)", text, memoryHint, what)
}

func inMiB(bytes int64) string { return fmt.Sprintf("%d MiB", bytes>>20) }
