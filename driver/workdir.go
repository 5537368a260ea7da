package driver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/plumbline-dev/plumbline/driver/job"
	"github.com/plumbline-dev/plumbline/driver/workdir"
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
	if r.given, err = readMounted(r.Paths.Spec); err != nil {
		return err
	}
	if err := r.given.check(r.Params.FilesDigest); err != nil {
		return err
	}
	if r.spec, err = r.given.spec(); err != nil {
		return err
	}
	r.client.expected = expectedOfOwn(r.Params.Place, r.spec.Backend)
	r.learnSecrets()
	r.tellOddKeys()
	if err := r.fillWorkDir(); err != nil {
		return err
	}
	if !r.foreign() || r.Params.Place.Move {
		if r.proxy, err = startStateProxy(context.WithoutCancel(ctx), r.client); err != nil {
			return err
		}
	}
	r.storeUnsaved(ctx)
	r.journal = r.newJournal(ctx)
	if err := r.placeOverride(); err != nil {
		return err
	}
	return r.setUpEngine()
}

// fillWorkDir lays the image's module out, then the Spec's files over it. The files go through os.Root, so neither a
// path nor a symbolic link leads them out of the root module's folder.
func (r *run) fillWorkDir() error {
	left, err := r.layOut()
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(r.work("."))
	if err != nil {
		return fmt.Errorf("opening work folder: %w", err)
	}
	defer root.Close() //nolint:errcheck // nothing is written through the folder's handle itself
	for _, f := range r.spec.Files {
		if workdir.Leftover(f.Path) {
			left = append(left, f.Path)
			continue
		}
		if f.Path == variablesFile {
			f.Path = ownVariables
		}
		if err := placeFile(root, r.given, f); err != nil {
			return err
		}
	}
	if len(left) > 0 {
		r.log.printf("Not taken along from the source, for Terraform left it where it ran before: %s",
			strings.Join(left, ", "))
	}
	return nil
}

// layOut finds the root module's folder: the image's module keeps its place in its tree.
func (r *run) layOut() (left []string, err error) {
	if r.spec.ImagePath == "" {
		return nil, nil
	}
	tree, err := workdir.InImage(r.spec.ImagePath)
	if err == nil {
		r.root, left, err = tree.Lay(r.Paths.Work)
	}
	if wrong := (*workdir.InvalidError)(nil); errors.As(err, &wrong) {
		return nil, invalid("%s", wrong.What)
	}
	return left, err
}

// work is the path of a file in the folder that Terraform runs in.
func (r *run) work(name string) string { return filepath.Join(cmp.Or(r.root, r.Paths.Work), name) }

func placeFile(work *os.Root, given mounted, f job.File) error {
	if !filepath.IsLocal(f.Path) {
		return invalid("file path %q leads out of the work folder", f.Path)
	}
	content, err := given.file(f)
	if err != nil {
		return err
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
	mode := fs.FileMode(0o600)
	if f.Executable {
		mode = 0o700
	}
	if err := work.WriteFile(f.Path, content, mode); err != nil {
		return fmt.Errorf("writing file %s: %w", f.Path, err)
	}
	return nil
}
