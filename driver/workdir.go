package driver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// prepare makes everything that Terraform needs to start.
func (r *run) prepare(ctx context.Context, _ *pace) error {
	untrusted := r.readTrust()
	var err error
	if r.client, err = newStateClient(r.Config, r.log, r.trusted); err != nil {
		return err
	}
	r.shipper.start(context.WithoutCancel(ctx), r.client.putChunk)
	if untrusted != nil {
		return untrusted // now that there is somebody to be told
	}
	if r.spec, err = readSpec(r.Paths.Spec); err != nil {
		return err
	}
	r.learnSecrets()
	if err := r.fillWorkDir(); err != nil {
		return err
	}
	if !r.foreign() || r.Params.Place.Move {
		if r.proxy, err = startStateProxy(context.WithoutCancel(ctx), r.client); err != nil {
			return err
		}
		go r.proxy.greet()
	}
	return r.setUpEngine()
}

func readSpec(dir string) (job.Spec, error) {
	b, err := os.ReadFile(filepath.Join(dir, job.SpecFile))
	if err != nil {
		return job.Spec{}, fmt.Errorf("reading spec: %w", err)
	}
	spec, err := job.ParseSpec(b)
	if err != nil {
		return job.Spec{}, invalid("%v", err)
	}
	return spec, nil
}

// fillWorkDir puts the image's module into the work folder, then the Spec's files over it. All of it goes through
// os.Root, so neither a path nor a symbolic link leads out of the folders.
func (r *run) fillWorkDir() error {
	work, err := os.OpenRoot(r.Paths.Work)
	if err != nil {
		return fmt.Errorf("opening work folder: %w", err)
	}
	defer work.Close() //nolint:errcheck // nothing is written through the folder's handle itself
	if r.spec.ImagePath != "" {
		if err := copyModule(r.spec.ImagePath, work); err != nil {
			return err
		}
	}
	for _, f := range r.spec.Files {
		if f.Path == variablesFile {
			f.Path = ownVariables
		}
		if err := placeFile(work, r.Paths.Spec, f); err != nil {
			return err
		}
	}
	return nil
}

func copyModule(dir string, work *os.Root) error {
	module, err := os.OpenRoot(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return invalid("the runner image has no folder %s", dir)
	case err != nil:
		return fmt.Errorf("opening module: %w", err)
	}
	defer module.Close() //nolint:errcheck // it is only read
	return fs.WalkDir(module.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("reading module: %w", err)
		}
		if err := copyEntry(module, work, name, entry.Type()); err != nil {
			return fmt.Errorf("copying %s of module %s: %w", name, dir, err)
		}
		return nil
	})
}

func copyEntry(module, work *os.Root, name string, kind fs.FileMode) error {
	switch {
	case kind.IsDir():
		return work.MkdirAll(name, 0o755)
	case kind.IsRegular():
		return copyFile(module, work, name)
	case kind&fs.ModeSymlink != 0:
		// Stat refuses a link that leads out of the module; inside it the same link leads to the same copy.
		if _, err := module.Stat(name); err != nil {
			return invalid("module link %s: %v", name, err)
		}
		target, err := module.Readlink(name)
		if err != nil {
			return err
		}
		return work.Symlink(target, name)
	default:
		return invalid("module entry %s is neither a file, a folder nor a link", name)
	}
}

func copyFile(module, work *os.Root, name string) error {
	in, err := module.Open(name)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // it is only read
	info, err := in.Stat()
	if err != nil {
		return err
	}
	// The copy belongs to this process, whatever the image's owner is, and must stay writable for it.
	out, err := work.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm()|0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

func placeFile(work *os.Root, from string, f job.File) error {
	if !filepath.IsLocal(f.Path) {
		return invalid("file path %q leads out of the work folder", f.Path)
	}
	content, err := os.ReadFile(filepath.Join(from, filepath.Base(f.Key)))
	if err != nil {
		return fmt.Errorf("reading file %s: %w", f.Path, err)
	}
	if dir := path.Dir(f.Path); dir != "." {
		if err := work.MkdirAll(dir, 0o755); err != nil {
			return invalid("file %s: %v", f.Path, err)
		}
	}
	// Removing first replaces a link of the module instead of writing to where it leads.
	if err := work.Remove(f.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return invalid("file %s: %v", f.Path, err)
	}
	if err := work.WriteFile(f.Path, content, 0o600); err != nil {
		return fmt.Errorf("writing file %s: %w", f.Path, err)
	}
	return nil
}
