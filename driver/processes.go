package driver

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// process is one process of the Pod.
type process struct {
	pid, parent, group int
	name               string
}

// providerPrefix begins the name of every provider's binary.
const providerPrefix = "terraform-provider-"

// killProviders kills the plugin processes of this driver's engines and returns their names.
func killProviders() []string {
	var killed []string
	for _, p := range providers(processes(), os.Getpid()) {
		if syscall.Kill(p.pid, syscall.SIGKILL) == nil {
			killed = append(killed, p.name)
		}
	}
	return killed
}

// killEngines kills the process groups of this driver's engines.
func killEngines() {
	for _, p := range engines(processes(), os.Getpid()) {
		_ = syscall.Kill(-p.pid, syscall.SIGKILL) // gone already is as good
	}
}

// engines are the children that lead a process group: tfexec starts each engine so.
func engines(all []process, driver int) []process {
	var found []process
	for _, p := range all {
		if p.parent == driver && p.group == p.pid {
			found = append(found, p)
		}
	}
	return found
}

// providers are the plugins in the engines' process groups.
func providers(all []process, driver int) []process {
	groups := map[int]bool{}
	for _, e := range engines(all, driver) {
		groups[e.pid] = true
	}
	var found []process
	for _, p := range all {
		if groups[p.group] && strings.HasPrefix(p.name, providerPrefix) {
			found = append(found, p)
		}
	}
	return found
}

// processes lists /proc. A process that ends meanwhile is left out.
func processes() []process {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	var all []process
	for _, dir := range dirs {
		stat, err := os.ReadFile(filepath.Join(dir, "stat"))
		if err != nil {
			continue
		}
		p, err := parseStat(stat)
		if err != nil {
			continue
		}
		// The name in stat is cut to 15 bytes; the command line's is whole.
		if cmdline, err := os.ReadFile(filepath.Join(dir, "cmdline")); err == nil && len(cmdline) > 0 {
			p.name = filepath.Base(string(bytes.SplitN(cmdline, []byte{0}, 2)[0]))
		}
		all = append(all, p)
	}
	return all
}

// parseStat reads "pid (name) state ppid pgrp ..."; the name may hold anything, parentheses too.
func parseStat(stat []byte) (process, error) {
	text := string(stat)
	open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return process{}, fmt.Errorf("parsing stat: no name in %q", text)
	}
	fields := strings.Fields(text[end+1:])
	if len(fields) < 3 {
		return process{}, fmt.Errorf("parsing stat: %d fields", len(fields))
	}
	p := process{name: text[open+1 : end]}
	for _, f := range []struct {
		to   *int
		from string
	}{{&p.pid, strings.TrimSpace(text[:open])}, {&p.parent, fields[1]}, {&p.group, fields[2]}} {
		n, err := strconv.Atoi(f.from)
		if err != nil {
			return process{}, fmt.Errorf("parsing stat: %w", err)
		}
		*f.to = n
	}
	return p, nil
}
