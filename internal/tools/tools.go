// Package tools builds the pinned third-party programs that development and the tests need: a whole Kubernetes,
// linters, generators, engines and providers. Each lives in a Go module of its own below this folder, so that its
// hundreds of requirements never reach the product's go.mod.
//
//	table (catalog.go) + <tool>/{go.mod,go.sum,*.go} --key--> cache/tools/<name>-<key>/   built once, then only found
//
// The cache lies outside the checkout ($PLUMBLINE_CACHE, or the user's cache folder): a fresh clone finds what
// another one built. A build happens in a temporary folder that is renamed when complete, under a lock per tool.
package tools

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// ErrUnknown says that no tool of that name is pinned here.
var ErrUnknown = errors.New("unknown tool")

// Logf receives one line per thing worth telling a person who waits.
type Logf func(format string, args ...any)

// Build makes sure that the named tools are built and returns the folder with each one's binaries.
func Build(ctx context.Context, log Logf, names ...string) (map[string]string, error) {
	folders := make(map[string]string, len(names))
	for _, name := range names {
		folder, err := build(ctx, log, name)
		if err != nil {
			return nil, fmt.Errorf("building %s: %w", name, err)
		}
		folders[name] = folder
	}
	return folders, nil
}

// Path makes sure that a tool is built and returns the path of one of its binaries. With an empty binary it returns
// the tool's only binary, or the folder where there are several.
func Path(ctx context.Context, log Logf, name, binary string) (string, error) {
	folders, err := Build(ctx, log, name)
	if err != nil {
		return "", err
	}
	folder := folders[name]
	if binary == "" {
		return only(folder)
	}
	path := filepath.Join(folder, binary)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("finding %s in %s: %w", binary, name, err)
	}
	return path, nil
}

func only(folder string) (string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return "", fmt.Errorf("listing binaries: %w", err)
	}
	if len(entries) != 1 {
		return folder, nil
	}
	return filepath.Join(folder, entries[0].Name()), nil
}

// Cache is the folder outside every checkout where built things are kept.
func Cache() (string, error) {
	if dir := os.Getenv("PLUMBLINE_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the cache folder (set PLUMBLINE_CACHE): %w", err)
	}
	return filepath.Join(dir, "plumbline"), nil
}

// Checkout is the top of the checkout that the working directory lies in.
func Checkout() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the checkout: %w", err)
	}
	for ; ; dir = filepath.Dir(dir) {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(data), "module "+modulePath+"\n") {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("the working directory is not inside a checkout of Plumbline")
		}
	}
}

const modulePath = "github.com/plumbline-dev/plumbline"
