// Command bare is what the benchmark's bare Pod runs: init, plan, apply and output by hand, one after the other, with
// nothing around them.
//
//	/config/* --copy--> /workspace --engine: init, plan, apply, output--> timings in the termination message
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/e2e/bench/timings"
)

const (
	configDir = "/config"
	workDir   = "/workspace"
	deadline  = 10 * time.Minute
)

var commands = [][]string{
	{"init", "-input=false", "-no-color"},
	{"plan", "-input=false", "-no-color", "-out=tfplan"},
	{"apply", "-input=false", "-no-color", "tfplan"},
	{"output", "-json", "-no-color"},
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bare:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	t := timings.Bare{Began: time.Now()}
	engine, err := findEngine()
	if err != nil {
		return err
	}
	if err := copyConfig(); err != nil {
		return err
	}
	for _, args := range commands {
		began := time.Now()
		cmd := exec.CommandContext(ctx, engine, args...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = workDir, os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("running %s: %w", args[0], err)
		}
		t.Steps = append(t.Steps, timings.Step{Name: args[0], Took: time.Since(began)})
	}
	t.Ended = time.Now()
	b, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("encoding the timings: %w", err)
	}
	return os.WriteFile("/dev/termination-log", b, 0o600)
}

func findEngine() (string, error) {
	for _, name := range []string{"terraform", "tofu"} {
		path := filepath.Join("/usr/local/bin", name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", errors.New("there is no engine in the image")
}

func copyConfig() error {
	files, err := os.ReadDir(configDir)
	if err != nil {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	for _, f := range files {
		if strings.HasPrefix(f.Name(), "..") { // the kubelet's own
			continue
		}
		b, err := os.ReadFile(filepath.Join(configDir, f.Name()))
		if err != nil {
			return fmt.Errorf("reading the configuration: %w", err)
		}
		if err := os.WriteFile(filepath.Join(workDir, f.Name()), b, 0o600); err != nil {
			return fmt.Errorf("copying the configuration: %w", err)
		}
	}
	return nil
}
