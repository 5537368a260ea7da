package images

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/plumbline-dev/plumbline/images/mirror"
)

// programs says which commands go into an image.
var programs = map[string]string{"controller": "./cmd/controller", "state": "./cmd/state", "runner": "./cmd/driver"}

// sourcesFormat lists the files of this module that a command is compiled from.
const sourcesFormat = `{{if .Module}}{{if .Module.Main}}{{$d := .Dir}}` +
	`{{range .GoFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}{{range .EmbedFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}{{end}}{{end}}`

// key names an image by everything that it is made from, and by nothing else: a change of the driver leaves the
// controller's image alone.
func (b *builder) key(ctx context.Context, name string) (string, error) {
	program, ok := programs[name]
	if !ok {
		return "", fmt.Errorf("there is no image %q: there are %s", name, strings.Join(Names, ", "))
	}
	files, err := b.sources(ctx, program, "./images/cmd/images")
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	fmt.Fprintln(sum, runtime.Version(), runtime.GOARCH, b.Repository, b.Tag, b.Base)
	files = append(files, "Dockerfile", ".dockerignore", "go.mod", "go.sum", ".build/certs/ca-certificates.crt")
	if name == "runner" {
		more, err := b.runnerFiles()
		if err != nil {
			return "", err
		}
		files = append(files, more...)
		if err := b.sumEngine(sum); err != nil {
			return "", err
		}
	}
	if err := b.sumFiles(sum, files); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", sum.Sum(nil))[:16], nil
}

// sources are the files of this module that the commands are compiled from.
func (b *builder) sources(ctx context.Context, commands ...string) ([]string, error) {
	output, err := b.goTool(ctx, append([]string{"list", "-deps", "-f", sourcesFormat}, commands...)...)
	if err != nil {
		return nil, err
	}
	files := strings.Fields(output)
	for i, file := range files {
		if files[i], err = filepath.Rel(b.root, file); err != nil {
			return nil, fmt.Errorf("placing a source file: %w", err)
		}
	}
	return files, nil
}

func (b *builder) runnerFiles() ([]string, error) {
	folders := []string{"images/modules"}
	for _, provider := range mirror.Providers {
		folders = append(folders, filepath.Join("internal/tools", provider.Tool))
	}
	var files []string
	for _, folder := range folders {
		err := filepath.WalkDir(filepath.Join(b.root, folder), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			name, err := filepath.Rel(b.root, path)
			files = append(files, name)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("listing %s: %w", folder, err)
		}
	}
	return files, nil
}

func (b *builder) sumFiles(sum hash.Hash, files []string) error {
	slices.Sort(files)
	for _, file := range slices.Compact(files) {
		data, err := os.ReadFile(filepath.Join(b.root, file))
		if err != nil {
			return fmt.Errorf("reading a source: %w", err)
		}
		fmt.Fprintln(sum, file, len(data))
		sum.Write(data)
	}
	return nil
}

// sumEngine tells engines apart by size and time: reading a hundred megabytes each time would cost more than it gives.
func (b *builder) sumEngine(sum hash.Hash) error {
	info, err := os.Stat(b.enginePath)
	if err != nil {
		return fmt.Errorf("looking at the engine: %w", err)
	}
	fmt.Fprintln(sum, b.enginePath, info.Size(), info.ModTime().UnixNano())
	return nil
}
