package tools

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// patched returns the go.mod that the tool is built with: its own or, for one with a patch, a copy that takes the
// module from a copy of it in which the file is replaced. (The compiler's -overlay refuses files of downloaded
// modules.) done removes the copies.
func (j job) patched(ctx context.Context) (modfile string, done func(), err error) {
	if j.patch == (patch{}) {
		return filepath.Join(j.source, "go.mod"), func() {}, nil
	}
	temp, err := os.MkdirTemp(filepath.Dir(j.target), "."+j.name+"-source-")
	if err != nil {
		return "", nil, fmt.Errorf("making a folder: %w", err)
	}
	done = func() { _ = os.RemoveAll(temp) }
	if modfile, err = j.copyPatched(ctx, temp); err != nil {
		done()
		return "", nil, fmt.Errorf("replacing a file of %s: %w", j.patch.module, err)
	}
	return modfile, done, nil
}

func (j job) copyPatched(ctx context.Context, temp string) (modfile string, err error) {
	download, err := j.goCommand(ctx, "mod", "download", "-json", j.patch.module).Output()
	if err != nil {
		return "", err
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(download, &module); err != nil {
		return "", err
	}
	copied, modfile := filepath.Join(temp, "module"), filepath.Join(temp, "go.mod")
	if err := os.CopyFS(copied, os.DirFS(module.Dir)); err != nil {
		return "", err
	}
	for from, to := range map[string]string{
		j.patch.by: filepath.Join(copied, j.patch.path), "go.mod": modfile, "go.sum": filepath.Join(temp, "go.sum"),
	} {
		data, err := os.ReadFile(filepath.Join(j.source, from))
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(to, data, 0o600); err != nil {
			return "", err
		}
	}
	return modfile, j.goCommand(ctx, "mod", "edit", "-replace", j.patch.module+"="+copied, modfile).Run()
}
